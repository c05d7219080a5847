//! The status: what fits one screen and answers "is this node well, and if not, why?".
//!
//! Every time here is on one clock: milliseconds since the node's boot, as is `uptime_ms`.

use serde::{Deserialize, Serialize};

use crate::database::DatabaseStatus;

/// Everything about a node at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name; none before it has a good seed.
    pub node: Option<String>,
    /// The cluster's name; none before it has a good seed.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The image that runs.
    pub image: Image,
    /// The slot it was booted from, `a` or `b`.
    pub slot: Option<String>,
    /// How far both slots are trusted, such as `slot a (good); b: 3 tries left`; none while it isn't
    /// known.
    #[serde(default)]
    pub slots: Option<String>,
    /// Whether the node can keep anything; none before it has tried.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// A new one for every boot.
    pub boot_id: String,
    /// Time since boot.
    pub uptime_ms: u64,
    /// What the node knows of the time of day.
    pub clock: Clock,
    /// Whether it does its work.
    pub readiness: Readiness,
    /// All services, in the order of their start.
    pub services: Vec<ServiceStatus>,
    /// Links of the seed, and what became of them.
    pub links: Vec<LinkStatus>,
    /// Who watches over the agent.
    pub watchdog: Watchdog,
    /// Virtual addresses, where there are any. PID 1 leaves this and the next to `vipd` and
    /// `pgkeeper`; `nodectl` asks them and puts the answers together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vip: Vec<VipStatus>,
    /// The database pair, on its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// Kubernetes, on its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k3s: Option<K3sStatus>,
    /// Which of these parts should be there and couldn't be had. `nodectl` says so, since it asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingPart>,
}

/// A part of the status that its program didn't tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPart {
    /// Its name in the status: `vip` or `database`.
    pub part: String,
    /// Why it isn't there.
    pub because: String,
}

/// The image of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its definition's name, such as `edge`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether the stand-in runs in place of K3s: never in production.
    pub stand_in: bool,
    /// Whether it has a shell.
    pub debug: bool,
}

/// The time of day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// Whether time servers confirmed it since boot.
    pub synchronised: bool,
    /// Where it came from before that: the machine's own clock, the image, the last run.
    #[serde(default)]
    pub source: Option<String>,
    /// What the program that keeps the clock says of it.
    #[serde(default)]
    pub detail: Option<String>,
}

/// The state partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Whether it is mounted.
    pub usable: bool,
    /// Why not.
    #[serde(default)]
    pub because: Option<String>,
}

/// Whether the node does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether all that it wants to run is ready.
    pub ready: bool,
    /// The boot phase, `running`, or `going down`.
    pub phase: String,
    /// Why it isn't ready, or what it does without, such as `link lan has no carrier`.
    pub because: Vec<String>,
}

/// One service at one moment; the states are those of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: ServiceState,
    /// Whether the operator wants it up.
    pub desired: bool,
    /// Its process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Since when it is in this state.
    pub since_ms: u64,
    /// When the state is over by itself, such as the next attempt.
    #[serde(default)]
    pub until_ms: Option<u64>,
    /// How often it was started after the first time.
    pub restarts: u64,
    /// How its last run ended.
    #[serde(default)]
    pub last_exit: Option<Exit>,
    /// The services that it waits for.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// What it says of itself.
    #[serde(default)]
    pub says: Option<String>,
}

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Not desired, no process.
    Down,
    /// What it needs isn't ready.
    Waiting,
    /// About to have a process.
    Starting,
    /// It has a process that isn't ready.
    Running,
    /// Its process is ready.
    Ready,
    /// Asked to end.
    Stopping,
    /// Killed, and not yet gone.
    Killing,
    /// Ended, and started again after a pause.
    BackOff,
    /// A job that is done.
    Finished,
    /// Ended well, for good.
    Ended,
    /// Ended badly, for good.
    Failed,
}

impl ServiceState {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Down,
        Self::Waiting,
        Self::Starting,
        Self::Running,
        Self::Ready,
        Self::Stopping,
        Self::Killing,
        Self::BackOff,
        Self::Finished,
        Self::Ended,
        Self::Failed,
    ];

    /// Its name, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Killing => "killing",
            Self::BackOff => "back-off",
            Self::Finished => "finished",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It never began.
    NotStarted,
}

/// A network link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Its name in the seed.
    pub name: String,
    /// In a word: `up`, `no-carrier`, `missing`, `down`.
    pub state: String,
    /// Its addresses with their prefixes.
    pub addresses: Vec<String>,
    /// Its hardware address.
    #[serde(default)]
    pub mac: Option<String>,
    /// What else is worth telling, such as `bond of 2` or `address taken by 52:54:…`.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The hardware watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watchdog {
    /// The driver's name; none if the node has no watchdog.
    pub device: Option<String>,
    /// Whether it is fed. If it isn't, the node restarts soon.
    pub fed: bool,
    /// Why it isn't.
    #[serde(default)]
    pub because: Option<String>,
}

/// A virtual address, as `vipd` tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipStatus {
    /// Its name in the seed.
    pub name: String,
    /// In a word: `active`, `backup`, `init`.
    pub state: String,
    /// Its addresses with their prefixes.
    pub addresses: Vec<String>,
    /// The link that it is on.
    pub link: String,
    /// The priority that it is announced with now.
    pub priority: u8,
    /// Whether this node may hold it now.
    pub permitted: bool,
    /// Why not, or what else is worth telling.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Kubernetes on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct K3sStatus {
    /// `server` or `agent`.
    pub role: String,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether the API server (or the agent's tunnel to it) answers.
    pub ready: bool,
    /// What else is worth telling.
    #[serde(default)]
    pub notes: Vec<String>,
}
