//! What services use: counters of their cgroups. Rates are the reader's to compute, from two
//! answers and the time between them.

use serde::{Deserialize, Serialize};

/// Usage of the node and of each service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// Milliseconds since boot.
    pub uptime_ms: u64,
    /// Processors of the node.
    pub processors: u32,
    /// Memory of the node.
    pub memory_bytes: u64,
    /// Memory that could still be given out.
    pub memory_available_bytes: u64,
    /// Load average over a minute, in hundredths.
    pub load_hundredths: u64,
    /// The services, in the order of their start.
    pub services: Vec<Usage>,
}

/// What one service uses; what the kernel doesn't tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Its name.
    pub service: String,
    /// Processor time since its cgroup was made, in microseconds.
    #[serde(default)]
    pub cpu_us: Option<u64>,
    /// Memory charged to it now, with the page cache that it caused.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// The most that it ever was.
    #[serde(default)]
    pub memory_peak_bytes: Option<u64>,
    /// Its limit.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<u64>,
    /// How often the kernel killed one of its processes for want of memory.
    #[serde(default)]
    pub oom_kills: Option<u64>,
}
