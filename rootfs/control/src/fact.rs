//! The facts that can be asked for: a fixed list, so that no path of a stranger's ever reaches the
//! file system, and nothing on the list tells a secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MAX_FACT_BYTES;
use crate::routes;

/// The parameter of the kernel's command line that may carry a seed, and with it secrets.
const SEED_PARAMETER: &str = "edgepair.seed";

macro_rules! facts {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, $path:expr; )+) => {
        /// Something about the node that isn't in its status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Fact {
            $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+
        }

        impl Fact {
            /// All of them, as they are listed.
            pub const ALL: &[Self] = &[$( Self::$variant ),+];

            /// Its name.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }

            /// What it tells.
            pub fn summary(self) -> &'static str {
                match self { $( Self::$variant => concat!($( $doc ),+).trim_ascii() ),+ }
            }

            /// The file that tells it, or none if PID 1 puts it together.
            pub fn path(self) -> Option<&'static str> {
                match self { $( Self::$variant => $path ),+ }
            }
        }
    };
}

facts! {
    /// Memory and state of PID 1 itself
    Agent = "agent", Some("/proc/1/status");
    /// Neighbours on the local networks (ARP)
    Neighbours = "arp", Some("/proc/net/arp");
    /// The kernel's command line, without secrets
    CommandLine = "cmdline", Some("/proc/cmdline");
    /// Processors
    CpuInfo = "cpuinfo", Some("/proc/cpuinfo");
    /// Block devices, their sizes and models
    Disks = "disks", None;
    /// Counters of every block device
    DiskStats = "diskstats", Some("/proc/diskstats");
    /// Interrupts by processor
    Interrupts = "interrupts", Some("/proc/interrupts");
    /// Network links with their state and counters
    Links = "links", None;
    /// Load averages
    LoadAverage = "loadavg", Some("/proc/loadavg");
    /// The image's manifest
    Manifest = "manifest", Some("/usr/lib/edgepair/manifest.json");
    /// Memory in use
    MemInfo = "meminfo", Some("/proc/meminfo");
    /// Loaded kernel modules
    Modules = "modules", Some("/proc/modules");
    /// What is mounted, and how
    Mounts = "mounts", Some("/proc/self/mounts");
    /// Counters of every network link
    NetDev = "netdev", Some("/proc/net/dev");
    /// Partitions
    Partitions = "partitions", Some("/proc/partitions");
    /// Time lost waiting for the processor
    PressureCpu = "pressure-cpu", Some("/proc/pressure/cpu");
    /// Time lost waiting for disks
    PressureIo = "pressure-io", Some("/proc/pressure/io");
    /// Time lost waiting for memory
    PressureMemory = "pressure-memory", Some("/proc/pressure/memory");
    /// IPv4 routes
    Routes = "routes", Some("/proc/net/route");
    /// IPv6 routes of all tables
    RoutesV6 = "routes-v6", Some("/proc/net/ipv6_route");
    /// Sockets in use
    Sockets = "sockstat", Some("/proc/net/sockstat");
    /// Processor time since boot
    Stat = "stat", Some("/proc/stat");
    /// Time since boot, and time idle
    Uptime = "uptime", Some("/proc/uptime");
    /// The kernel's version
    Version = "version", Some("/proc/version");
    /// Counters of the memory manager
    VmStat = "vmstat", Some("/proc/vmstat");
}

/// A word that names no fact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such fact: `nodectl get` lists all")]
pub struct UnknownFact;

impl FromStr for Fact {
    type Err = UnknownFact;

    fn from_str(text: &str) -> Result<Self, UnknownFact> {
        Self::ALL.iter().copied().find(|fact| fact.word() == text).ok_or(UnknownFact)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// A kernel command line without the seed that it may carry.
fn without_seed(command_line: &str) -> String {
    let shown = |word: &str| match word.trim_matches('"').split_once('=') {
        Some((SEED_PARAMETER, _)) => format!("{SEED_PARAMETER}=(not shown)"),
        _ => word.to_owned(),
    };
    let mut line = command_line.split_whitespace().map(shown).collect::<Vec<_>>().join(" ");
    line.push('\n');
    line
}

/// `/proc/modules` without the addresses, which would help an attack on the kernel.
fn without_addresses(modules: &str) -> String {
    modules.lines().map(|line| format!("{}\n", line.split(" 0x").next().unwrap_or(line))).collect()
}

/// The text of a fact: printable, without secrets, and of bounded size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactText {
    /// Which.
    pub fact: Fact,
    /// Its lines.
    pub text: String,
    /// Whether that is all; false if it was longer than [`MAX_FACT_BYTES`].
    pub whole: bool,
}

impl FactText {
    /// From what the fact's file holds, or its first part, which should exceed [`MAX_FACT_BYTES`]
    /// by a byte if there is more.
    pub fn new(fact: Fact, bytes: &[u8]) -> Self {
        let bounded = bytes.get(..MAX_FACT_BYTES).unwrap_or(bytes);
        let lossy = String::from_utf8_lossy(bounded);
        let cleaned = match fact {
            Fact::CommandLine => without_seed(&lossy),
            Fact::Modules => without_addresses(&lossy),
            Fact::Routes => routes::of_ipv4(&lossy),
            Fact::RoutesV6 => routes::of_ipv6(&lossy),
            _ => lossy.into_owned(),
        };
        let plain = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '?' } else { c };
        let mut text: String = cleaned.chars().map(plain).collect();
        let mut whole = bytes.len() <= MAX_FACT_BYTES;
        if text.len() > MAX_FACT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_FACT_BYTES));
            whole = false;
        }
        Self { fact, text, whole }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_name_facts_and_differ() {
        for fact in Fact::ALL {
            assert_eq!(fact.word().parse(), Ok(*fact));
            assert!(!fact.summary().is_empty());
            assert_eq!(serde_json::to_value(fact).expect("JSON"), fact.word());
        }
        assert_eq!("../../etc/shadow".parse::<Fact>(), Err(UnknownFact));
    }

    #[test]
    fn a_seed_on_the_command_line_is_not_told() {
        let line = b"quiet edgepair.seed=c2VjcmV0 \"edgepair.seed=c2VjcmV0\" panic=10\n";
        let shown = FactText::new(Fact::CommandLine, line);
        assert!(!shown.text.contains("c2Vj"), "{shown:?}");
        assert!(shown.text.starts_with("quiet ") && shown.text.ends_with(" panic=10\n"));
    }

    #[test]
    fn addresses_of_the_kernel_are_not_told() {
        let shown = FactText::new(Fact::Modules, b"ext4 1 2 - Live 0xffffffffc0a\nvfat 1 0 -\n");
        assert_eq!(shown.text, "ext4 1 2 - Live\nvfat 1 0 -\n");
    }

    proptest! {
        /// Whatever a file holds, the text is bounded and safe to print.
        #[test]
        fn facts_are_bounded_and_plain(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            repeat in 1_usize..600,
            which in 0..Fact::ALL.len(),
        ) {
            let bytes = bytes.repeat(repeat);
            let shown = FactText::new(Fact::ALL[which], &bytes);
            prop_assert!(shown.text.len() <= MAX_FACT_BYTES);
            prop_assert!(shown.whole || bytes.len() > MAX_FACT_BYTES / 3);
            prop_assert!(shown.text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }
}
