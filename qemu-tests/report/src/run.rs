//! A run of a drill as data. The rig fills it in; the pages and `verdict.json` are made of it.
//!
//! All times are on one clock, the harness's, and count from the beginning of the run.

use ledger::check::ownership::Reign;
use ledger::{Finding, Kind, Micros, Verdict};
use serde::{Deserialize, Serialize};

/// One drill, run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The drill's name, such as `vip_freeze_thaw`.
    pub drill: String,
    /// The family that it belongs to, such as `vip`.
    pub family: String,
    /// What distinguishes runs of one drill, such as `IPv6`. Trends are kept apart by it.
    #[serde(default)]
    pub variant: String,
    /// What the drill claims, in one sentence.
    pub claim: String,
    /// With this number everything random comes out the same.
    pub seed: u64,
    /// When it began, in seconds since 1970.
    pub started_unix: u64,
    /// How long it took.
    pub length: Micros,
    /// The verdict over findings and assertions: [`Run::judge`] sets it.
    pub verdict: Verdict,
    /// The command that runs exactly this again.
    pub rerun: String,
    /// What else a reader may want to know: image, QEMU, acceleration, topology.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// A lane per machine, the tester last.
    #[serde(default)]
    pub lanes: Vec<Lane>,
    /// Virtual addresses and who had them, by the wire.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// What was broken on purpose.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What had to happen, and by when.
    #[serde(default)]
    pub assertions: Vec<Assertion>,
    /// What the checkers found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What the drill measured itself, by name; the name ends with the unit.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// Which clients' longest gap is shown.
    #[serde(default)]
    pub patience: Option<Patience>,
    /// What the rig did and saw, in its own words.
    #[serde(default)]
    pub log: Vec<Mark>,
}

impl Run {
    /// The verdict over everything that was judged. A missed assertion is a violation; a fault that
    /// never bit leaves all unknown, unless something broke anyway.
    pub fn judge(&mut self) {
        let mut verdict = match (self.findings.is_empty(), self.assertions.is_empty()) {
            (true, true) => Verdict::Unknown,
            _ => self.findings.iter().map(|finding| finding.verdict).max().unwrap_or_default(),
        };
        if self.assertions.iter().any(|assertion| !assertion.in_time()) {
            verdict = verdict.max(Verdict::Violated);
        }
        if self.faults.iter().any(|fault| !fault.bit) {
            verdict = verdict.max(Verdict::Unknown);
        }
        self.verdict = verdict;
    }

    /// What an assertion comes to. Where the whole is unknown, the rig has found that what was late
    /// proves nothing.
    pub fn verdict_of(&self, assertion: &Assertion) -> Verdict {
        match self.verdict {
            _ if assertion.in_time() => Verdict::Pass,
            Verdict::Unknown => Verdict::Unknown,
            Verdict::Pass | Verdict::Violated => Verdict::Violated,
        }
    }

    /// Name and variant.
    pub fn title(&self) -> String {
        if self.variant.is_empty() {
            self.drill.clone()
        } else {
            format!("{} ({})", self.drill, self.variant)
        }
    }
}

/// Something that a drill measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What, with its unit: `in_sync_again_ms`, `lost_rows`.
    pub name: String,
    /// How much.
    pub value: u64,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// What about it.
    pub value: String,
}

/// A machine through the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// What it is, in a few words.
    #[serde(default)]
    pub note: String,
    /// Whether it ran; where nothing is said it did not exist yet, or no more.
    #[serde(default)]
    pub power: Vec<PowerSpan>,
    /// What it was for others; may be empty.
    #[serde(default)]
    pub roles: Vec<RoleSpan>,
    /// Moments: ready, killed, promoted.
    #[serde(default)]
    pub marks: Vec<Mark>,
}

/// How a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Switched on, and not ready yet.
    Booting,
    /// Ready.
    On,
    /// Stopped by QEMU: its clocks stand still too.
    Frozen,
    /// QEMU itself is stopped: its clocks jump afterwards.
    Stalled,
    /// Off, or its power was cut.
    Off,
}

/// How a machine is, for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerSpan {
    /// Since.
    pub from: Micros,
    /// Until.
    pub until: Micros,
    /// How.
    pub power: Power,
}

/// What a machine is for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleKind {
    /// The one that serves.
    Leader,
    /// One that could take over.
    Follower,
    /// Anything else: promoting, rewinding, blocked.
    Between,
}

/// What a machine is, for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpan {
    /// Since.
    pub from: Micros,
    /// Until.
    pub until: Micros,
    /// How it is drawn.
    pub kind: RoleKind,
    /// How it is called, such as "primary, epoch 3".
    pub role: String,
}

/// What kind of moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// Worth knowing.
    #[default]
    Note,
    /// As it should be.
    Good,
    /// Trouble.
    Bad,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: Micros,
    /// What happened.
    pub text: String,
    /// Whether that is good.
    #[serde(default)]
    pub kind: MarkKind,
}

/// A virtual address through the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Its name and number, such as "api 192.168.77.10".
    pub name: String,
    /// Who announced it, by the wire.
    pub reigns: Vec<Reign>,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    #[serde(default)]
    pub announcements: Vec<Announcement>,
}

/// "This address is here", said once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// When.
    pub at: Micros,
    /// By whom.
    pub by: String,
}

/// Something that was broken on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What was done, such as "freeze node1".
    pub label: String,
    /// To which lanes; to the network, if to none.
    #[serde(default)]
    pub targets: Vec<String>,
    /// When it began.
    pub from: Micros,
    /// When it was healed; none if it never was, as a kill.
    #[serde(default)]
    pub until: Option<Micros>,
    /// Whether it is proven to have had an effect.
    pub bit: bool,
    /// How that is known: "312 frames dropped".
    #[serde(default)]
    pub proof: String,
}

/// Something that had to happen in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// What, such as "the peer claims the address".
    pub text: String,
    /// From when on it was waited for.
    pub from: Micros,
    /// By when it had to happen.
    pub deadline: Micros,
    /// When it did, in time or late; none if it never did.
    #[serde(default)]
    pub met: Option<Micros>,
}

impl Assertion {
    /// Whether it happened by then.
    pub fn in_time(&self) -> bool {
        self.met.is_some_and(|met| met <= self.deadline)
    }

    /// How long it took and how long it could, or what else became of it.
    pub fn told(&self) -> String {
        let allowed = self.deadline.since(self.from);
        match self.met.map(|met| met.since(self.from)) {
            Some(took) if self.in_time() => format!("after {took} of {allowed}"),
            Some(took) => format!("too late: after {took}, allowed are {allowed}"),
            None => format!("not within {allowed}"),
        }
    }
}

/// How long clients may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Which operations.
    pub kind: Kind,
    /// From when on they count.
    pub from: Micros,
    /// Until when.
    pub until: Micros,
    /// The longest gap that is allowed; none if it is only shown.
    #[serde(default)]
    pub budget: Option<Micros>,
}
