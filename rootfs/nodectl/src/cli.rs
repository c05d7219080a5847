//! The command line. Answers go to standard output, everything else to standard error.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 node unreachable.

mod moment;
mod pg;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use control::{Fact, MAX_LOG_LINES, SOCKET_PATH, ServiceName};

use crate::client::{ClientError, NodeAddress, Target};
use crate::commands;
use crate::serve;
use crate::show::Style;

const EXAMPLES: &str = "\
Examples:
  nodectl status                            this node, on one screen
  nodectl logs -f haproxy                   what HAProxy says, from now on
  nodectl restart haproxy                   down and up again
  nodectl pg switchover                     the other node leads the database
  nodectl --node 10.0.10.11 --operator secrets/shop-17 status
  EDGEPAIR_OPERATOR=secrets/shop-17 nodectl --node node2:7432 support-bundle

Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 node unreachable";

/// Looks at a node and steers it: on the node, or from afar with an operator's certificate.
#[derive(Debug, Parser)]
#[command(name = "nodectl", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Which node.
#[derive(Debug, Args)]
struct Place {
    /// Another node than this one: its address or name, and a port if it isn't 7432.
    #[arg(long, value_name = "ADDRESS[:PORT]", global = true, env = "EDGEPAIR_NODE")]
    node: Option<NodeAddress>,
    /// Folder of the cluster's secrets with operator.pem, operator.key and ca.pem.
    #[arg(long, value_name = "FOLDER", global = true, env = "EDGEPAIR_OPERATOR")]
    operator: Option<PathBuf>,
    /// Where this node's agent listens.
    #[arg(long, value_name = "PATH", global = true, hide = true, default_value = SOCKET_PATH)]
    socket: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows how the node is: role, addresses, services, and what is wrong.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows what services said.
    #[command(after_help = "Examples:\n  nodectl logs -n 20 pgkeeper\n  nodectl logs -f")]
    Logs {
        /// Go on with new lines until Ctrl-C.
        #[arg(short, long)]
        follow: bool,
        /// The last so many lines.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100,
              value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_LOG_LINES)))]
        lines: u32,
        /// Begin with the line of this number.
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// Only this service.
        service: Option<ServiceName>,
    },
    /// Brings a service up, now.
    Start {
        /// The service.
        service: ServiceName,
    },
    /// Takes a service down until it is started again, or the node reboots.
    Stop {
        /// The service.
        service: ServiceName,
    },
    /// Takes a service down and up again.
    Restart {
        /// The service.
        service: ServiceName,
    },
    /// Stops all services in order and boots anew.
    Reboot {
        /// Don't ask; without a terminal nothing else will do.
        #[arg(long)]
        yes: bool,
    },
    /// Stops all services in order and switches the machine off.
    Poweroff {
        /// Don't ask; without a terminal nothing else will do.
        #[arg(long)]
        yes: bool,
    },
    /// Shows what services use, until q or Ctrl-C.
    Top {
        /// Once, over one interval.
        #[arg(long)]
        once: bool,
    },
    /// Shows a fact about the node, such as meminfo; without a name lists all facts.
    Get {
        /// The fact.
        fact: Option<Fact>,
    },
    /// Prints status and usage in Prometheus' text format.
    Metrics,
    /// Shows and steers the database pair: switchover, maintenance, backups.
    #[command(subcommand)]
    Pg(pg::PgCommand),
    /// Packs status, logs and facts into one file for support; secrets are left out.
    SupportBundle {
        /// The file; without it a name is made from the node's name and time.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Answers operators from afar: the node's own service `nodeapi`.
    Serve {
        /// Its configuration, rendered from the seed.
        #[arg(long, value_name = "FILE", default_value = serve::CONFIG_PATH)]
        config: PathBuf,
    },
}

/// What ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The node couldn't be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The output can't be written.
    #[error("the output can't be written: {0}")]
    Output(#[source] io::Error),
    /// The bundle can't be written.
    #[error(transparent)]
    Bundle(#[from] commands::BundleError),
    /// The node API can't start.
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    /// The person at the keyboard said no.
    #[error("not confirmed: nothing was done")]
    NotConfirmed,
    /// What asks first was given without a terminal, and without a yes.
    #[error("nobody can be asked here: add --yes")]
    NobodyToAsk,
    /// The peer doesn't lead after a switchover.
    #[error("the hand-over: {0}; `nodectl pg status` on both nodes says why")]
    HandOver(&'static str),
    /// `--node` without `--operator`.
    #[error(
        "--node needs --operator FOLDER (or EDGEPAIR_OPERATOR): the folder of the cluster's secrets, \
         which `builder cluster new` made"
    )]
    NoOperator,
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::NoOperator | Self::NobodyToAsk => 2,
            _ => 1,
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough, as with `nodectl logs | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _unheard = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve { config } => {
            return serve::main(&config, &cli.place.socket).map_err(Failure::Serve);
        }
        Command::Get { fact: None } => return commands::list_facts(),
        _ => {}
    }
    let node = commands::Node::new(&target(cli.place)?, style())?;
    match cli.command {
        Command::Status { json } => node.status(json),
        Command::Logs { follow, lines, from, service } => node.logs(service, lines, follow, from),
        Command::Start { service } => node.start(service),
        Command::Stop { service } => node.stop(service),
        Command::Restart { service } => node.restart(service),
        Command::Reboot { yes } => node.reboot(yes),
        Command::Poweroff { yes } => node.power_off(yes),
        Command::Top { once } => node.top(once),
        Command::Get { fact: Some(fact) } => node.get(fact),
        Command::Metrics => node.metrics(),
        Command::Pg(command) => pg::run(&node, command),
        Command::SupportBundle { output } => node.bundle(output.as_deref()),
        Command::Get { fact: None } | Command::Serve { .. } => Ok(()),
    }
}

fn target(place: Place) -> Result<Target, Failure> {
    match (place.node, place.operator) {
        (None, _) => Ok(Target::Local { socket: place.socket }),
        (Some(address), Some(operator)) => Ok(Target::Remote { address, operator }),
        (Some(_), None) => Err(Failure::NoOperator),
    }
}

fn style() -> Style {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !forbidden { Style::Coloured } else { Style::Plain }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
