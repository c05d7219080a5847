//! The keeper's configuration: a strict TOML file, rendered from the seed by the overlay `postgres`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use failover::{Arbiter, CHANNELS_MAX, Policy, Rules, Side, Times};
use serde::Deserialize;
use thiserror::Error;

use crate::witness::cluster_number;

/// Above normal programs, with vipd: both have neighbours that take lateness for death.
const REALTIME_PRIORITY: u8 = 20;
/// Where vipd hears who may hold virtual addresses.
const PERMIT_SOCKET: &str = "/run/edgepair/permit.sock";
/// Where `nodectl` asks: in a folder of the keeper's own, since it isn't root.
const CONTROL_SOCKET: &str = "/run/edgepair/pgkeeper/control.sock";
/// A shorter key could be guessed. The builder's have 64 characters.
const LEAST_KEY_BYTES: usize = 16;
/// Fewer heartbeats, and a single lost one could cost the peer its place.
const LEAST_HEARTBEATS_IN_LOSS: u64 = 5;
const LEAST_INTERVAL_MS: u64 = 20;
const LONGEST_LOSS_MS: u64 = 60_000;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It isn't what it should be.
    #[error("{}: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        why: String,
    },
}

/// What `pgkeeper.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name.
    pub node: String,
    /// The two nodes of the pair: side A, which makes the first database, and side B.
    pub pair: [String; 2],
    /// The folder of the record; on a disk that keeps what it confirms.
    pub state: PathBuf,
    /// Authenticates heartbeats; the same on both nodes.
    pub heartbeat_key: String,
    /// Where vipd hears the permit.
    #[serde(default = "permit_socket")]
    pub permit_socket: PathBuf,
    /// Where `nodectl` asks.
    #[serde(default = "control_socket")]
    pub control_socket: PathBuf,
    /// The group, by number, that may ask beside root and the keeper's own user.
    #[serde(default)]
    pub control_group: Option<u32>,
    /// 1 to 99; 0 leaves the keeper a normal process.
    #[serde(default = "realtime_priority")]
    pub realtime_priority: u8,
    /// The files (PEM) that prove who this node is.
    pub identity: Files,
    /// Who decides when the nodes lose sight of each other.
    #[serde(default)]
    pub failover: Failover,
    /// The ways to the peer, in the same order on both nodes.
    pub channels: Vec<Channel>,
    /// The door for clients.
    pub gate: Gate,
    /// The database.
    pub postgres: Postgres,
    /// When the disk counts as ill.
    #[serde(default)]
    pub disk: Disk,
}

/// Certificates and keys, by the files that hold them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The cluster's CA.
    pub ca_certificate: PathBuf,
    /// The node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificate with which this node replicates from its peer.
    pub replication_certificate: PathBuf,
    /// Its key.
    pub replication_key: PathBuf,
}

/// From the seed's `[failover]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failover {
    /// What happens when nobody can arbitrate.
    pub policy: Option<Word>,
    /// The third voter.
    pub witness: Option<Witness>,
    /// Addresses that answer while this node is connected.
    pub gateways: Vec<IpAddr>,
    /// Cuts the peer's power, and confirms it with exit code 0.
    pub fence: Vec<String>,
    /// Milliseconds between two heartbeats.
    pub interval_ms: u64,
    /// Milliseconds of silence after which the peer is lost.
    pub loss_ms: u64,
}

impl Default for Failover {
    fn default() -> Self {
        let (policy, witness) = (None, None);
        let (gateways, fence) = (Vec::new(), Vec::new());
        Self { policy, witness, gateways, fence, interval_ms: 100, loss_ms: 500 }
    }
}

/// The words of the seed's `failover.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Writes stop until the other node agrees.
    Consistency,
    /// The primary carries on.
    PrimaryBiased,
    /// The standby promotes.
    StandbyBiased,
    /// One of them, after time windows and a look at the gateway.
    Availability,
}

/// Where the witness is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its host name or address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// A way to the peer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name in logs.
    pub name: String,
    /// Where this node sends from and listens.
    pub local: SocketAddr,
    /// Where the peer listens.
    pub peer: SocketAddr,
    /// The link that it is bound to; else the one that has the local address.
    #[serde(default)]
    pub link: Option<String>,
}

/// The door for clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// From the seed's `[database]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The folder of PostgreSQL's programs.
    pub programs: PathBuf,
    /// The folder of its data.
    pub folder: PathBuf,
    /// The folder of its unix socket.
    pub sockets: PathBuf,
    /// Where it listens for its peer.
    pub listen: Vec<IpAddr>,
    /// The port for its peer.
    pub port: u16,
    /// The peer's port for this node.
    pub peer_port: u16,
    /// Where the peer's PostgreSQL listens.
    pub peers: Vec<IpAddr>,
    /// The one database.
    pub database: String,
    /// Its roles.
    pub users: Vec<User>,
    /// The largest number of connections.
    pub max_connections: u32,
    /// The size of its cache, in bytes.
    pub shared_buffers: u64,
    /// Whether a commit waits for the standby's disk.
    #[serde(default = "yes")]
    pub synchronous: bool,
    /// The `archive_command`, if there are backups.
    #[serde(default)]
    pub archive_command: Option<String>,
    /// Further settings.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// A role and who may use it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The role.
    pub role: String,
    /// Common names of the certificates that log in as this role.
    pub clients: Vec<String>,
    /// Whether it owns the database.
    #[serde(default = "yes")]
    pub owner: bool,
}

/// When the disk counts as ill; the leader then hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// Least free space, in MiB; a tenth of a disk that has less than ten times that.
    pub least_free_mib: u64,
    /// A file that is given up when space runs out, in MiB; 0 for none.
    pub ballast_mib: u64,
    /// How long the disk may take to confirm a small write.
    pub slow_ms: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { least_free_mib: 128, ballast_mib: 32, slow_ms: 2000 }
    }
}

fn permit_socket() -> PathBuf {
    PathBuf::from(PERMIT_SOCKET)
}

fn control_socket() -> PathBuf {
    PathBuf::from(CONTROL_SOCKET)
}

fn realtime_priority() -> u8 {
    REALTIME_PRIORITY
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|why| ConfigError::Wrong { path: path.to_owned(), why })
    }

    /// The same from a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let [a, b] = &self.pair;
        if a == b {
            return Err(format!("pair names \"{a}\" twice: name the two database nodes"));
        }
        if !self.pair.contains(&self.node) {
            let node = &self.node;
            return Err(format!("node \"{node}\" is neither \"{a}\" nor \"{b}\": correct `pair`"));
        }
        if self.heartbeat_key.len() < LEAST_KEY_BYTES {
            return Err(format!(
                "heartbeat_key has fewer than {LEAST_KEY_BYTES} characters: let `builder cluster \
                 new` make the secrets"
            ));
        }
        if self.realtime_priority > 99 {
            return Err("realtime_priority is 1 to 99, or 0 for none".to_owned());
        }
        self.failover.check()?;
        self.check_channels()?;
        self.postgres.check()
    }

    fn check_channels(&self) -> Result<(), String> {
        if self.channels.is_empty() {
            return Err("there is no way to the peer: write a `[[channels]]`".to_owned());
        }
        if self.channels.len() > CHANNELS_MAX {
            return Err(format!("{CHANNELS_MAX} channels at most: remove some"));
        }
        let mut names = BTreeSet::new();
        for channel in &self.channels {
            let name = &channel.name;
            if !names.insert(name) {
                return Err(format!("channel \"{name}\" is there twice: rename one"));
            }
            if channel.local.is_ipv4() != channel.peer.is_ipv4() {
                return Err(format!("channel \"{name}\": local and peer are of one family"));
            }
            if channel.peer.ip().is_unspecified() || channel.peer.port() == 0 {
                return Err(format!("channel \"{name}\": peer needs an address and a port"));
            }
            let same =
                |other: &&Channel| other.local == channel.local && other.link == channel.link;
            if self.channels.iter().filter(same).count() > 1 {
                let local = channel.local;
                return Err(format!("channel \"{name}\": another one has {local} too"));
            }
        }
        Ok(())
    }

    /// Which of the two this node is.
    pub fn side(&self) -> Side {
        let [a, _] = &self.pair;
        if *a == self.node { Side::A } else { Side::B }
    }

    /// The peer's name.
    pub fn peer(&self) -> &str {
        let [a, b] = &self.pair;
        if self.side() == Side::A { b } else { a }
    }

    /// What the protocol is told.
    pub fn protocol(&self) -> failover::Settings {
        failover::Settings {
            cluster: cluster_number(&self.cluster),
            side: self.side(),
            arbiter: self.failover.arbiter(),
            times: self.failover.times(),
            rules: Rules::ALL,
        }
    }
}

impl Failover {
    fn check(&self) -> Result<(), String> {
        if self.interval_ms < LEAST_INTERVAL_MS {
            return Err(format!("failover.interval_ms is at least {LEAST_INTERVAL_MS}"));
        }
        let least = self.interval_ms.saturating_mul(LEAST_HEARTBEATS_IN_LOSS);
        if self.loss_ms < least || self.loss_ms > LONGEST_LOSS_MS {
            return Err(format!(
                "failover.loss_ms is {least} to {LONGEST_LOSS_MS}: {LEAST_HEARTBEATS_IN_LOSS} \
                 heartbeats at least"
            ));
        }
        if self.fence.first().is_some_and(|program| !program.starts_with('/')) {
            return Err("failover.fence begins with the program's whole path".to_owned());
        }
        Ok(())
    }

    /// Who decides.
    pub fn arbiter(&self) -> Arbiter {
        let policy = self.policy.map(|word| match word {
            Word::Consistency => Policy::Consistency,
            Word::PrimaryBiased => Policy::PrimaryBiased,
            Word::StandbyBiased => Policy::StandbyBiased,
            Word::Availability => Policy::Availability,
        });
        Arbiter::choose(self.witness.is_some(), !self.fence.is_empty(), policy)
    }

    /// The protocol's bounds: those that speak of silence grow with the bound of silence.
    pub fn times(&self) -> Times {
        let usual = Times::default();
        let heartbeat = Duration::from_millis(self.interval_ms);
        let loss = Duration::from_millis(self.loss_ms);
        let stretched = |time: Duration| time.max(time.mul_f64(loss.div_duration_f64(usual.loss)));
        Times {
            heartbeat,
            loss,
            precedence: usual.precedence.max(heartbeat),
            rendezvous: stretched(usual.rendezvous),
            standby_rendezvous: stretched(usual.standby_rendezvous),
            promote_window: stretched(usual.promote_window),
            solo_window: stretched(usual.solo_window),
            stream_loss: stretched(usual.stream_loss),
            permit: usual.permit.max(heartbeat.saturating_mul(4)),
            ..usual
        }
    }
}

impl Postgres {
    fn check(&self) -> Result<(), String> {
        if self.users.is_empty() {
            return Err("nobody may log in: write a `[[postgres.users]]`".to_owned());
        }
        if self.peers.is_empty() || self.listen.is_empty() {
            return Err("postgres.listen and postgres.peers need an address each".to_owned());
        }
        Ok(())
    }

    /// PostgreSQL's unix socket, for the gate.
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(format!(".s.PGSQL.{}", self.port))
    }
}

#[cfg(test)]
mod tests;
