//! The command line of the keeper, its backups and the witness. Answers go to standard output, everything
//! else to standard error. Exit codes: 0 done, 1 refused or failed, 2 wrong command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ring::rand::{SecureRandom, SystemRandom};

use crate::witness::register::{FileDisk, Kept};
use crate::witness::{Config, Server, WitnessError, cluster_number};
use crate::{backup, keeper};

/// Where the witness has its configuration, unless it is told.
const CONFIG_PATH: &str = "/etc/edgepair/witness.toml";

/// Where the backup service has its configuration, unless it is told.
const BACKUP_CONFIG_PATH: &str = "/etc/edgepair/backup.toml";

/// Keeps a PostgreSQL pair in one piece.
#[derive(Debug, Parser)]
#[command(name = "pgkeeper", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keeps this node's half of a pair: PostgreSQL, the gate, the role.
    Run {
        /// The configuration, such as /etc/edgepair/pgkeeper.toml.
        config: PathBuf,
    },
    /// Says what is wrong with a keeper's configuration, if anything.
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// Makes base backups of the database while this node leads, and restores them.
    Backup {
        /// The configuration.
        #[arg(value_name = "FILE", default_value = BACKUP_CONFIG_PATH)]
        config: PathBuf,
    },
    /// The third voter of database pairs: one register for each, on any box.
    Witness {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, global = true)]
        config: PathBuf,
        #[command(subcommand)]
        act: Act,
    },
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Serves all clusters of the configuration.
    Run,
    /// Makes a cluster's register, empty; the pair fills it. Once in a cluster's life.
    Init {
        /// The cluster's name.
        cluster: String,
    },
    /// Shows what stands in the registers.
    Show,
}

/// Runs the command.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { config } => keeper::run(&config).map(|()| ExitCode::SUCCESS).map_err(said),
        Command::Check { config } => check(&config).map_err(said),
        Command::Backup { config } => {
            backup::run(&config).map(|()| ExitCode::SUCCESS).map_err(said)
        }
        Command::Witness { config, act } => witness(&config, &act).map_err(said),
    };
    done.unwrap_or_else(|error| {
        say(&error);
        ExitCode::FAILURE
    })
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn check(path: &Path) -> Result<ExitCode, keeper::config::ConfigError> {
    let config = keeper::Config::load(path)?;
    print(&format!("{}: {} of {}, nothing wrong", path.display(), config.node, config.cluster));
    Ok(ExitCode::SUCCESS)
}

fn witness(path: &Path, act: &Act) -> Result<ExitCode, WitnessError> {
    let config = Config::load(path)?;
    match act {
        Act::Run => run(&config),
        Act::Init { cluster } => init(&config, cluster),
        Act::Show => Ok(show(&config)),
    }
}

fn say(line: &str) {
    let _unheard = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn print(line: &str) {
    let _unread = io::stdout().write_all(format!("{line}\n").as_bytes());
}

fn run(config: &Config) -> Result<ExitCode, WitnessError> {
    let notifier = sys::notify::Notifier::from_environment();
    let server = Server::bind(config, Box::new(say))?;
    if let Ok(address) = server.address() {
        say(&format!("listening on {address} for {} clusters", config.clusters.len()));
    }
    notifier.ready();
    server.run();
    Ok(ExitCode::SUCCESS)
}

fn init(config: &Config, name: &str) -> Result<ExitCode, WitnessError> {
    let cluster = config.cluster(name)?;
    let mut incarnation = [0; 8];
    SystemRandom::new().fill(&mut incarnation).map_err(|_| WitnessError::Random)?;
    let path = config.register(cluster);
    let disk = FileDisk::new(&path);
    Kept::init(disk, cluster_number(name), u64::from_be_bytes(incarnation))?;
    print(&format!("{} is made, and empty; restart the witness", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Reads files only: a running witness is not disturbed.
fn show(config: &Config) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for cluster in &config.clusters {
        let path = config.register(cluster);
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        let text = match read.map(|bytes| failover::Register::decode(&bytes)) {
            Ok(Some(register)) => match register.config {
                None => "empty; the pair fills it when it is in sync".to_owned(),
                Some(config) => {
                    let [a, b] = &cluster.nodes;
                    let leader = if config.leader == failover::Side::A { a } else { b };
                    let members = match config.members {
                        failover::Members::Leader => "alone",
                        failover::Members::Both => "with its standby",
                    };
                    format!("epoch {}, {leader} leads {members}", config.epoch.0)
                }
            },
            Ok(None) => {
                code = ExitCode::FAILURE;
                "damaged".to_owned()
            }
            Err(error) => {
                code = ExitCode::FAILURE;
                error
            }
        };
        print(&format!("{}: {text}", cluster.name));
    }
    code
}
