//! The database pair: no acknowledged row is lost, one node serves, and nobody repairs anything.

pub(crate) mod backups;
pub(crate) mod disks;
pub(crate) mod machines;
pub(crate) mod orders;
pub(crate) mod wire;

use std::time::Duration;

use qemu_tests::rig::drill::{Clients, Drill};
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{Condition, answers, is, keeper};
use qemu_tests::rig::fault::{Injected, Node, Stop};

use crate::{PG_BACKUP, PG_FENCE, PG_PAIR, PG_WITNESS};

pub(crate) const FAMILY: Family = Family {
    name: "pg",
    about: "The database pair: no acknowledged row is lost, one node serves, and nobody repairs \
            anything.",
    drills: &[
        Entry::new(
            "pg_primary_power_cut",
            "the primary loses power: the standby acknowledges within the budget, nothing \
             acknowledged is lost, \
             and the old primary comes back as a standby by itself",
            PG_PAIR,
            machines::primary_power_cut,
        )
        .within(LIMIT),
        Entry::new(
            "pg_witness_power_cut",
            "the same with a witness, which decides instead of time windows",
            PG_WITNESS,
            machines::primary_power_cut,
        )
        .on_both()
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_kill9",
            "PostgreSQL is killed on the primary: it comes back or the peer takes over, and \
             nothing is lost",
            PG_PAIR,
            machines::kill9,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_keeper_kill9",
            "the keeper of the primary is killed: its PostgreSQL ends with it, and nothing is lost",
            PG_PAIR,
            machines::keeper_kill9,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_standby_power_cut",
            "the standby loses power: the primary goes on alone once that is certain, and is in \
             sync again later",
            PG_PAIR,
            machines::standby_power_cut,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_switchover",
            "a planned hand-over loses nothing, and the other node serves",
            PG_PAIR,
            orders::switchover,
        )
        .within(LIMIT),
        Entry::new(
            "pg_freeze_thaw",
            "a primary that was frozen past its successor's promotion acknowledges nothing when \
             it thaws",
            PG_WITNESS,
            machines::freeze_thaw,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_isolated_primary",
            "a primary that nobody hears stops, its standby serves, and the two are one pair \
             again afterwards",
            PG_PAIR,
            wire::isolated_primary,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_disk_eio",
            "a primary whose disk breaks gives up, and its standby takes over",
            PG_WITNESS,
            disks::disk_eio,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_fs_full",
            "a primary without room for its data hands over, and recovers when there is room again",
            PG_PAIR,
            disks::fs_full,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_disk_stall",
            "a primary whose disk answers nothing is noticed, and its standby takes over",
            PG_WITNESS,
            disks::disk_stall,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_torn_cuts",
            "twenty power cuts that tear what was being written: the pair is whole each time, and \
             nothing is lost",
            PG_PAIR,
            machines::torn_cuts,
        )
        .within(Duration::from_mins(40))
        .on_demand(),
        Entry::new(
            "pg_client_side_partition",
            "a primary that still reaches its clients, but neither its standby nor the witness, \
             acknowledges nothing more",
            PG_WITNESS,
            wire::client_side_partition,
        )
        .on_both()
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_filtered_peers",
            "nodes between which only adverts pass take each other for dead, without a witness: one \
             of them serves",
            PG_PAIR,
            wire::filtered_peers,
        )
        .on_both()
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_fence",
            "without a witness but with a power switch: the standby has the power of a primary cut that \
             nobody hears, and leads only when that is confirmed",
            PG_FENCE,
            wire::fence,
        )
        .on_both()
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_swizzle",
            "links that are cut one by one and come back in another order make no more than one \
             promotion",
            PG_WITNESS,
            wire::swizzle,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_guard_data_loss",
            "a standby that lacks acknowledged rows is never promoted, unless an operator accepts \
             the loss",
            PG_PAIR,
            orders::guard_data_loss,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_restore",
            "the database is brought back to a moment from its backups: all that was acknowledged \
             before is there, nothing from after, and both nodes serve it",
            PG_BACKUP,
            backups::restore,
        )
        .on_both()
        .within(Duration::from_mins(10))
        .on_demand(),
    ],
};

/// Forming a pair takes most of it.
pub(crate) const LIMIT: Duration = Duration::from_mins(6);
/// From a crash of the primary to the next acknowledged row. Emulated processors are some seven
/// times slower than real ones, and three machines share two of those: a promotion that takes a
/// tenth of a second elsewhere takes a whole one here, and so does a client's log-in.
pub(crate) const CRASH_BUDGET: Duration = Duration::from_secs(6);
/// A PostgreSQL that was killed gets two seconds to come back, which a real one doesn't need; an emulated
/// one does, and then the peer leads. Meanwhile nobody has the address, so a client may have to wait
/// for its own time limit (three seconds) before it asks again.
pub(crate) const RESTART_BUDGET: Duration = Duration::from_secs(10);
/// Without a witness a primary goes on alone five seconds after it lost its peer.
pub(crate) const SOLO_BUDGET: Duration = Duration::from_secs(10);
/// A clean stop, a promotion and a log-in, one after the other, and emulated: three to five seconds were
/// seen, of which the two nodes need three. At the desk's own speed it is a quarter of one (`bench pair`).
const HAND_OVER_BUDGET: Duration = Duration::from_secs(8);
/// Longer than every window in which a node acts by itself.
pub(crate) const LONG_ENOUGH: Duration = Duration::from_secs(12);
/// A boot, a rewind or a copy, and the hold-down.
pub(crate) const HEAL_LIMIT: Duration = Duration::from_mins(3);

/// The site after its power came back in the bad order: only the node that missed the last rows runs.
pub(crate) struct Stale {
    pub(crate) primary: Node,
    pub(crate) standby: Node,
    pub(crate) primary_off: Injected,
    pub(crate) clients: Clients,
}

/// Lets the primary go on alone until the standby lacks rows, then leaves the standby alone, which
/// must serve nobody.
pub(crate) fn leave_the_stale_one(t: &mut Drill) -> Result<Stale, Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let standby_off = t.inject(standby.power_cut())?;
    t.expect("the primary goes on alone", is(primary, "solo"), SOLO_BUDGET)?;
    // What was acknowledged before that, the standby may have.
    t.mark();
    t.expect("a row is acknowledged that the standby hasn't", answers(), SOLO_BUDGET)?;
    let primary_off = t.inject(primary.power_cut())?;
    t.heal(standby_off)?;
    t.wait_ready(standby)?;
    let opens = t.gate_opens_within(standby, LONG_ENOUGH)?;
    t.assert("alone, the stale node serves nobody", !opens, format!("its gate opens: {opens}"));
    Ok(Stale { primary, standby, primary_off, clients })
}

fn shut(node: Node) -> Condition {
    keeper(node, |status| !status.gate_open)
}

fn leads(node: Node) -> Condition {
    keeper(node, |status| status.gate_open)
}
