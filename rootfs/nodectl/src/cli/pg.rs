//! The command line of `nodectl pg`.

use clap::{Subcommand, ValueEnum};
use control::{BackupLabel, Restore, RestoreTo};

use super::Failure;
use super::moment::Moment;
use crate::commands::Node;

const STATUS_EXAMPLES: &str = "\
Examples:
  nodectl pg status                         as this node sees the pair
  nodectl --node node2 --operator secrets/shop-17 pg status --json";

const SWITCHOVER_EXAMPLES: &str = "\
Examples:
  nodectl pg switchover                     on the node that leads; ends when the peer leads
  nodectl pg switchover --no-wait           as soon as it was accepted

Refused where the peer isn't in sync: nothing that was acknowledged may be missing there.
Exit codes: 0 the peer leads, 1 refused or called off, 3 node unreachable";

const MAINTENANCE_EXAMPLES: &str = "\
Examples:
  nodectl pg maintenance on                 before work on the network between the nodes
  nodectl pg maintenance off

Tell both nodes. While it is on nobody takes over or goes on alone, so a leader that loses its
standby shuts clients out. Switchover works, and what was acknowledged stays safe. It outlives reboots.";

const FORCE_EXAMPLES: &str = "\
Examples:
  nodectl pg force-primary --i-accept-data-loss

For the day on which the other node is gone for good and this one may not lead by itself. Commits
that the other node acknowledged meanwhile are lost. Refused while the other node is heard to lead,
and while this node's data is being repaired.";

const REINIT_EXAMPLES: &str = "\
Examples:
  nodectl pg reinit                         on the node whose data is to go; asks first
  nodectl pg reinit --yes                   without asking, as in a script

Refused on the node that leads, and where no leader is in reach to copy from.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  nodectl pg backup now                     on the node that leads
  nodectl pg backup list

How to restore one: `nodectl pg restore --help`.";

const RESTORE_EXAMPLES: &str = "\
Examples, after `nodectl stop pgkeeper` on both nodes of the pair:
  nodectl pg restore --i-accept-data-loss                        to the end of the archive
  nodectl pg restore --until '2026-11-20 11:59:30' --i-accept-data-loss
  nodectl pg restore --backup 20261120-115500F --i-accept-data-loss

Then, on this node:     nodectl start pgkeeper
                        nodectl pg force-primary --i-accept-data-loss
and on the other one:   nodectl start pgkeeper         it follows by itself

What this node had before stays beside the new data until the next restore.";

/// What the database pair is told or asked.
#[derive(Debug, Subcommand)]
pub(super) enum PgCommand {
    /// Shows role, epoch, replication, witness, and what to do about trouble.
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Lets the peer lead, without loss; given to the node that leads.
    #[command(after_help = SWITCHOVER_EXAMPLES)]
    Switchover {
        /// Don't wait until it is done.
        #[arg(long)]
        no_wait: bool,
    },
    /// Switches automatic failover off, or on again.
    #[command(after_help = MAINTENANCE_EXAMPLES)]
    Maintenance {
        /// Whether maintenance begins or ends.
        switch: Switch,
    },
    /// Makes this node lead, although acknowledged commits may be missing here.
    #[command(after_help = FORCE_EXAMPLES)]
    ForcePrimary {
        /// Yes, commits may be lost.
        #[arg(long)]
        i_accept_data_loss: bool,
    },
    /// Replaces this node's data by a copy of the leader's.
    #[command(after_help = REINIT_EXAMPLES)]
    Reinit {
        /// Don't ask; without a terminal nothing else will do.
        #[arg(long)]
        yes: bool,
    },
    /// Makes a base backup, or lists those that there are.
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup {
        #[command(subcommand)]
        act: BackupAct,
    },
    /// Replaces this node's data by what is in the backups; only while pgkeeper is stopped.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore {
        /// The last commit before this moment, in UTC; without it all that was archived.
        #[arg(long, value_name = "TIME", conflicts_with = "backup")]
        until: Option<Moment>,
        /// A base backup and nothing after it, by its label.
        #[arg(long, value_name = "LABEL")]
        backup: Option<BackupLabel>,
        /// Yes, what was written later may be lost.
        #[arg(long)]
        i_accept_data_loss: bool,
    },
}

/// On or off.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

#[derive(Debug, Subcommand)]
pub(super) enum BackupAct {
    /// Begins a base backup.
    Now,
    /// Lists base backups, oldest first, and how far the archive reaches.
    List {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(node: &Node, command: PgCommand) -> Result<(), Failure> {
    match command {
        PgCommand::Status { json } => node.pg_status(json),
        PgCommand::Switchover { no_wait } => node.switchover(!no_wait),
        PgCommand::Maintenance { switch } => node.maintenance(matches!(switch, Switch::On)),
        PgCommand::ForcePrimary { i_accept_data_loss } => node.force_primary(i_accept_data_loss),
        PgCommand::Reinit { yes } => node.reinit(yes),
        PgCommand::Restore { until, backup, i_accept_data_loss } => {
            let to = match (until, backup) {
                (Some(Moment { unix_ms }), _) => RestoreTo::Time { unix_ms },
                (None, Some(label)) => RestoreTo::Backup { label },
                (None, None) => RestoreTo::Latest,
            };
            node.restore(Restore { to, accept_data_loss: i_accept_data_loss })
        }
        PgCommand::Backup { act: BackupAct::Now } => node.backup_now(),
        PgCommand::Backup { act: BackupAct::List { json } } => node.backups(json),
    }
}
