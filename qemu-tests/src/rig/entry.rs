//! The table of drills: what there is, on what it runs, and what it claims.

use std::fmt;
use std::time::Duration;

use super::drill::Drill;
use super::fault::Stop;

/// A version of the internet protocol, where a drill is about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ip {
    V4,
    V6,
}

impl Ip {
    pub fn word(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Where the nodes of a topology are described; paths count from the root of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A cluster file for each version of the protocol. Without an address they are the same.
    Cluster { v4: &'static str, v6: &'static str },
    /// Seeds that are there already.
    Seeds(&'static [&'static str]),
}

/// What a formed cluster has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steady {
    /// Its nodes are ready.
    Ready,
    /// And one of them has the virtual address.
    Owner,
    /// And the database pair is in sync.
    InSync,
    /// And this service's log on one of them has this text: for peers, which can't be asked.
    Logged(&'static str, &'static str),
}

/// Which machines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    pub name: &'static str,
    pub site: Site,
    /// An image definition's name, or its path.
    pub image: &'static str,
    /// Whether there is a machine for clients.
    pub tester: bool,
    /// What it has reached when a drill on a formed cluster begins.
    pub steady: Steady,
}

/// How the cluster is when the drill begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// All machines run and are ready.
    Formed,
    /// The tester runs, the nodes are off.
    Off,
}

/// What a drill is.
pub type Body = fn(&mut Drill) -> Result<(), Stop>;

/// A drill in the table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Begins with the family's name.
    pub name: &'static str,
    /// What it claims, in one sentence.
    pub claim: &'static str,
    pub topology: Topology,
    /// Empty if no address is involved; then it runs once.
    pub ips: &'static [Ip],
    pub begin: Begin,
    /// From the formed cluster to the last check.
    pub limit: Duration,
    /// Whether it belongs to the set of `cargo test`.
    pub in_ci: bool,
    pub body: Body,
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Entry({})", self.name)
    }
}

impl Entry {
    /// A drill of the CI set on a formed cluster, without an address, within 90 seconds.
    pub const fn new(
        name: &'static str,
        claim: &'static str,
        topology: Topology,
        body: Body,
    ) -> Self {
        let (begin, limit) = (Begin::Formed, Duration::from_secs(90));
        Self { name, claim, topology, ips: &[], begin, limit, in_ci: true, body }
    }

    /// About an address of both versions: it runs once for each.
    #[must_use]
    pub const fn on_both(self) -> Self {
        Self { ips: &[Ip::V4, Ip::V6], ..self }
    }

    /// About an address, of the older version only.
    #[must_use]
    pub const fn on_v4(self) -> Self {
        Self { ips: &[Ip::V4], ..self }
    }

    /// The drill turns the nodes on itself.
    #[must_use]
    pub const fn from_off(self) -> Self {
        Self { begin: Begin::Off, ..self }
    }

    #[must_use]
    pub const fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Not in `cargo test`: `builder drill` runs it.
    #[must_use]
    pub const fn on_demand(self) -> Self {
        Self { in_ci: false, ..self }
    }

    /// The family: what stands before the first underscore.
    pub fn family(&self) -> &'static str {
        self.name.split('_').next().unwrap_or(self.name)
    }

    /// The runs that it takes: one for each version, or one.
    pub fn variants(&self) -> Vec<Option<Ip>> {
        if self.ips.is_empty() { vec![None] } else { self.ips.iter().copied().map(Some).collect() }
    }
}

/// All drills of a family, as its file lists them.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub about: &'static str,
    pub drills: &'static [Entry],
}
