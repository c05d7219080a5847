//! A service: what runs, as whom, after what, and when it counts as ready.
//!
//! This is what the author of an overlay writes under `[[services]]`:
//!
//! ```toml
//! [[services]]
//! name = "haproxy"
//! command = ["/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"]
//! user = "haproxy"
//! when = "roles.balancer"
//! needs = ["network"]
//! ready = { kind = "tcp", port = 8404 }
//! limits = { memory = "128MiB" }
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FileMode;
use super::template::root;
use crate::scalar::{AbsolutePath, Bytes, DurationText, Word};

/// A program that the agent keeps running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The service's name, as in `nodectl logs NAME`.
    pub name: Word,
    /// Program and arguments. The program is an absolute path; no shell is involved.
    pub command: Vec<String>,
    /// The user to run as.
    #[serde(default = "root")]
    pub user: String,
    /// The group to run as; that of the user if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Environment variables; nothing else is inherited but `PATH`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where the program starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<AbsolutePath>,
    /// Services that must be ready before this one starts, and without which it is stopped.
    #[serde(default)]
    pub needs: Vec<Word>,
    /// Services that start earlier if they run at all; their failure changes nothing here.
    #[serde(default)]
    pub after: Vec<Word>,
    /// The service runs only if this dotted key is set and not false or empty, such as
    /// `roles.balancer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// When it counts as ready.
    #[serde(default)]
    pub ready: Ready,
    /// How long it may take to be ready; then it counts as failed.
    #[serde(default = "one_minute")]
    pub ready_timeout: DurationText,
    /// What happens when it ends.
    #[serde(default)]
    pub restart: Restart,
    /// How it is stopped.
    #[serde(default)]
    pub stop: Stop,
    /// How much it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Capabilities that it keeps, such as `"CAP_NET_RAW"`. Root loses all others too.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Priority 1 to 99 of the real-time scheduler; a normal program if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime_priority: Option<u8>,
    /// The service must say "alive" on the notify socket at least this often, or it is killed. The
    /// hardware watchdog isn't fed while it can't be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<DurationText>,
    /// Directories that are made before it starts.
    #[serde(default)]
    pub directories: Vec<Directory>,
}

impl Service {
    /// All services that this one starts after.
    pub fn waits_for(&self) -> impl Iterator<Item = &Word> {
        self.needs.iter().chain(&self.after)
    }
}

/// A directory on the state partition or below `/run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Its path.
    pub path: AbsolutePath,
    /// Its permission bits.
    #[serde(default = "private")]
    pub mode: FileMode,
    /// Its owner; that of the service if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

fn private() -> FileMode {
    FileMode::from_bits(0o700)
}

fn one_minute() -> DurationText {
    DurationText::from_milliseconds(60_000)
}

/// The sign by which a service is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Ready {
    /// Its process exists.
    #[default]
    Running,
    /// It has ended with exit code 0: a job that runs once.
    Done,
    /// A TCP port accepts.
    Tcp {
        /// The address to connect to.
        #[serde(default = "localhost")]
        address: String,
        /// The port.
        port: PortSource,
    },
    /// A file exists.
    File {
        /// The file.
        path: AbsolutePath,
    },
    /// It said so on the notify socket (`READY=1`, as with systemd).
    Notify,
    /// A command ends with exit code 0.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// Time between two attempts.
        #[serde(default = "one_second")]
        interval: DurationText,
    },
}

fn localhost() -> String {
    "127.0.0.1".to_owned()
}

fn one_second() -> DurationText {
    DurationText::from_milliseconds(1000)
}

/// A port: a number, or the key of the seed that has it, such as `"database.port"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortSource {
    /// The port itself.
    Number(u16),
    /// A dotted key of the context.
    Key(String),
}

impl PortSource {
    /// The port's number, if the context has it.
    pub fn resolve(&self, context: &Value) -> Option<u16> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Key(key) => {
                let number = crate::render::lookup(context, key)?.as_u64()?;
                u16::try_from(number).ok()
            }
        }
    }
}

/// What happens when a service ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// Whether it is started again.
    pub policy: RestartPolicy,
    /// The first pause; it doubles with each quick failure.
    pub first_delay: DurationText,
    /// The longest pause.
    pub longest_delay: DurationText,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::Always,
            first_delay: DurationText::from_milliseconds(200),
            longest_delay: DurationText::from_milliseconds(30_000),
        }
    }
}

/// Whether a service is started again when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Whenever it ends.
    Always,
    /// When it ends with another exit code than 0, or by a signal.
    OnFailure,
    /// Never.
    Never,
}

/// How a service is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// The signal that asks it to end, such as `"TERM"`, `"INT"` or `"QUIT"`.
    pub signal: String,
    /// How long it may take until its whole cgroup is killed.
    pub timeout: DurationText,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: "TERM".to_owned(), timeout: DurationText::from_milliseconds(10_000) }
    }
}

/// How much a service may use. What is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory; beyond it the service's largest process is killed, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Number of processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Number of open files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
    /// Memory that may be locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_memory: Option<Bytes>,
    /// Share of the processor against others, 1 to 10000; 100 is normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u16>,
    /// How readily the kernel kills it when memory is short: -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score: Option<i16>,
}
