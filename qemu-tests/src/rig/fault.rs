//! Faults: what can go wrong, how it is made to, and how it is known that it did.
//!
//! A fault that had no effect proves nothing, however well everything went meanwhile. So each has a
//! proof, looked at when it is injected or when it is healed; without it the run is unknown.

use std::thread;
use std::time::{Duration, Instant};

use ::probe::words::Ask;
use vdisk::store::Cut;
use vswitch::rule::{Effect, Pick, Rule, RuleId};

use super::cluster::{Cluster, ClusterSetUpError};
use super::machine::{Machine, MachineError};
use super::probe::ProbeError;
use super::warm::WarmError;

/// A frame that was on its way when a guest was stopped may still come out.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// A process that was told to stop does so when it runs next.
const STOP_LIMIT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Filling a disk takes as long as writing it.
const FILL_LIMIT: Duration = Duration::from_mins(1);

/// Why a drill ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What it claims doesn't hold.
    Violated(String),
    /// It can't be told: a fault without effect, a desk that was too slow, a machine that broke.
    Unknown(String),
}

impl From<MachineError> for Stop {
    fn from(error: MachineError) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl From<ProbeError> for Stop {
    fn from(error: ProbeError) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl From<WarmError> for Stop {
    fn from(error: WarmError) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl From<ClusterSetUpError> for Stop {
    fn from(error: ClusterSetUpError) -> Self {
        Self::Unknown(error.to_string())
    }
}

/// A node, by its place in the cluster file. Its methods are the faults that it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub usize);

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Freeze(Node),
    Stall(Node),
    PowerCut(Node, Cut),
    PowerOff(Node, Duration),
    Reset(Node),
    Unplug(Node),
    BlackHole(Node),
    Network { label: String, rules: Vec<Rule> },
    Kill(Node, String),
    Hang(Node, String),
    FillState(Node),
    DiskStall(Node),
    DiskBroken(Node),
    DiskFull(Node),
    StepClock(Node, i64),
    HogMemory(Node),
}

impl Node {
    /// Its processors stand still and its clocks with them: it will notice nothing.
    pub fn freeze(self) -> Fault {
        Fault::Freeze(self)
    }

    /// QEMU's process is stopped: afterwards its clocks jump.
    pub fn stall(self) -> Fault {
        Fault::Stall(self)
    }

    /// The power is gone, and with it everything that was not flushed.
    pub fn power_cut(self) -> Fault {
        Fault::PowerCut(self, Cut::All)
    }

    /// The same, with another fate for what was not flushed.
    pub fn power_cut_with(self, cut: Cut) -> Fault {
        Fault::PowerCut(self, cut)
    }

    /// Somebody presses its power button; it must be off by then.
    pub fn power_off(self, limit: Duration) -> Fault {
        Fault::PowerOff(self, limit)
    }

    /// Somebody presses its reset button.
    pub fn reset(self) -> Fault {
        Fault::Reset(self)
    }

    /// Its cable is pulled, which it sees.
    pub fn unplug(self) -> Fault {
        Fault::Unplug(self)
    }

    /// Nothing goes in or out any more, and it sees nothing of it.
    pub fn black_hole(self) -> Fault {
        Fault::BlackHole(self)
    }

    /// A process of it is killed.
    pub fn kill9(self, process: &str) -> Fault {
        Fault::Kill(self, process.to_owned())
    }

    /// A process of it stands still.
    pub fn hang(self, process: &str) -> Fault {
        Fault::Hang(self, process.to_owned())
    }

    /// There is no room on its state partition.
    pub fn fill_state(self) -> Fault {
        Fault::FillState(self)
    }

    /// Its disk answers nothing.
    pub fn disk_stall(self) -> Fault {
        Fault::DiskStall(self)
    }

    /// Its disk answers that it can neither read nor write.
    pub fn disk_broken(self) -> Fault {
        Fault::DiskBroken(self)
    }

    /// Its disk, a thin one, has no space.
    pub fn disk_full(self) -> Fault {
        Fault::DiskFull(self)
    }

    /// Its wall clock moves by so many seconds.
    pub fn step_clock(self, seconds: i64) -> Fault {
        Fault::StepClock(self, seconds)
    }

    /// A program takes all the memory it can get.
    pub fn hog_memory(self) -> Fault {
        Fault::HogMemory(self)
    }
}

impl Fault {
    /// Rules of the switch, under a name for people.
    pub fn network(label: impl Into<String>, rules: Vec<Rule>) -> Self {
        Self::Network { label: label.into(), rules }
    }

    /// So many frames of a thousand are lost, everywhere.
    pub fn loss(per_mille: u16) -> Self {
        let rule = Rule::everywhere(Effect::Drop { per_mille });
        Self::network(format!("lose {per_mille} of 1000 frames"), vec![rule])
    }

    /// So many frames of a kind are lost, everywhere.
    pub fn loss_of(pick: Pick, per_mille: u16) -> Self {
        let rule = Rule::everywhere(Effect::Drop { per_mille }).only(pick);
        Self::network(format!("lose {per_mille} of 1000 {pick:?} frames"), vec![rule])
    }

    /// Which nodes it is about; none for the network.
    pub fn nodes(&self) -> Vec<Node> {
        match self {
            Self::Network { .. } => Vec::new(),
            Self::Freeze(node)
            | Self::Stall(node)
            | Self::PowerCut(node, _)
            | Self::PowerOff(node, _)
            | Self::Reset(node)
            | Self::Unplug(node)
            | Self::BlackHole(node)
            | Self::Kill(node, _)
            | Self::Hang(node, _)
            | Self::FillState(node)
            | Self::DiskStall(node)
            | Self::DiskBroken(node)
            | Self::DiskFull(node)
            | Self::StepClock(node, _)
            | Self::HogMemory(node) => vec![*node],
        }
    }

    /// What is done, for people.
    pub fn label(&self, cluster: &Cluster) -> String {
        let name = |node: &Node| cluster.nodes.get(node.0).map_or("?", |machine| &machine.name);
        match self {
            Self::Freeze(node) => format!("freeze {}", name(node)),
            Self::Stall(node) => format!("stall {}", name(node)),
            Self::PowerCut(node, Cut::All) => format!("cut the power of {}", name(node)),
            Self::PowerCut(node, Cut::Some { .. }) => {
                format!("cut the power of {}, some writes survive", name(node))
            }
            Self::PowerCut(node, Cut::Torn { .. }) => {
                format!("cut the power of {}, writes tear", name(node))
            }
            Self::PowerOff(node, _) => format!("press the power button of {}", name(node)),
            Self::Reset(node) => format!("reset {}", name(node)),
            Self::Unplug(node) => format!("pull the cable of {}", name(node)),
            Self::BlackHole(node) => format!("swallow the frames of {}", name(node)),
            Self::Network { label, .. } => label.clone(),
            Self::Kill(node, process) => format!("kill -9 {process} on {}", name(node)),
            Self::Hang(node, process) => format!("hang {process} on {}", name(node)),
            Self::FillState(node) => format!("fill the state partition of {}", name(node)),
            Self::DiskStall(node) => format!("stall the disk of {}", name(node)),
            Self::DiskBroken(node) => format!("break the disk of {}", name(node)),
            Self::DiskFull(node) => format!("no space on the disk of {}", name(node)),
            Self::StepClock(node, seconds) => {
                format!("move the clock of {} by {seconds} s", name(node))
            }
            Self::HogMemory(node) => format!("take the memory of {}", name(node)),
        }
    }
}

/// A fault that is there, until it is healed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "heal it, or let the end of the drill do so"]
pub struct Injected {
    pub(super) fault: Fault,
    pub(super) at: Duration,
    /// Its number in the record of the run.
    pub(super) number: usize,
    rules: Vec<RuleId>,
    swallowed: u64,
    failed: u64,
}

impl Injected {
    /// When it was there.
    pub fn at(&self) -> Duration {
        self.at
    }
}

/// Whether a fault had an effect, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub bit: bool,
    pub how: String,
}

fn proof(bit: bool, how: impl Into<String>) -> Proof {
    Proof { bit, how: how.into() }
}

fn machine(cluster: &mut Cluster, node: Node) -> Result<&mut Machine, Stop> {
    let missing = || Stop::Unknown(format!("the cluster has no node {}", node.0));
    cluster.nodes.get_mut(node.0).ok_or_else(missing)
}

/// Stops QEMU's process, and says whether it stands still: each of its threads stops by itself.
fn stall(machine: &mut Machine) -> Result<bool, MachineError> {
    machine.stall()?;
    let deadline = Instant::now() + STOP_LIMIT;
    while !machine.is_stalled()? && Instant::now() < deadline {
        thread::sleep(LOOK_AGAIN);
    }
    machine.is_stalled()
}

/// Does it. The proof is absent where it can only come later.
pub(super) fn inject(
    cluster: &mut Cluster,
    fault: Fault,
    number: usize,
) -> Result<(Injected, Option<Proof>), Stop> {
    let (mut rules, mut swallowed, mut failed) = (Vec::new(), 0, 0);
    let at = cluster.now();
    let known = match &fault {
        Fault::Freeze(node) => {
            let machine = machine(cluster, *node)?;
            machine.freeze()?;
            let frozen = machine.is_frozen()?;
            // That it was silent as well is looked at when it is thawed.
            (!frozen).then(|| proof(false, "QEMU says that it runs"))
        }
        Fault::Stall(node) => {
            let stalled = stall(machine(cluster, *node)?)?;
            Some(proof(stalled, "the desk's kernel says that QEMU is stopped"))
        }
        Fault::PowerCut(node, cut) => {
            let lost = machine(cluster, *node)?.power_cut(*cut)?;
            Some(proof(true, format!("QEMU was killed; {lost} unflushed sectors were lost")))
        }
        Fault::PowerOff(node, limit) => {
            let machine = machine(cluster, *node)?;
            machine.press_power_button()?;
            if !machine.wait_for_end(*limit)? {
                let name = &machine.name;
                return Err(Stop::Violated(format!("{name} was not off within {limit:?}")));
            }
            Some(proof(true, "it went off by itself"))
        }
        Fault::Reset(node) => {
            let machine = machine(cluster, *node)?;
            let before = machine.probe.wait(super::probe::ANSWER_LIMIT)?;
            machine.reset()?;
            let after = new_boot(machine, &before)?;
            Some(proof(after, "its boot id is another one"))
        }
        Fault::Unplug(node) => {
            let machine = machine(cluster, *node)?;
            machine.set_link(false)?;
            let carriers = machine.probe.facts()?.carriers;
            let gone = carriers.values().all(|carrier| !carrier);
            Some(proof(gone, format!("its cards have a carrier: {carriers:?}")))
        }
        Fault::BlackHole(node) => {
            let port = machine(cluster, *node)?.port;
            swallowed = cluster.switch.swallowed(port);
            cluster.switch.connect(port, false);
            None
        }
        Fault::Network { rules: wanted, .. } => {
            rules = wanted.iter().map(|rule| cluster.switch.add(rule.clone())).collect();
            None
        }
        Fault::Kill(node, process) => {
            let ask = Ask::Kill { process: process.clone() };
            let count = machine(cluster, *node)?.probe.ask(ask)?;
            Some(proof(true, format!("{count} killed")))
        }
        Fault::Hang(node, process) => {
            let ask = Ask::Hang { process: process.clone() };
            let count = machine(cluster, *node)?.probe.ask(ask)?;
            Some(proof(true, format!("{count} stopped")))
        }
        Fault::FillState(node) => {
            let probe = &machine(cluster, *node)?.probe;
            let bytes = probe.ask_for(Ask::FillState, FILL_LIMIT)?;
            Some(proof(bytes.as_u64() > Some(0), format!("{bytes} bytes were free, none is now")))
        }
        Fault::DiskStall(node) => {
            let disk = machine(cluster, *node)?.disk()?;
            failed = disk.counts().reads + disk.counts().writes;
            disk.stall(true);
            None
        }
        Fault::DiskBroken(node) => {
            let disk = machine(cluster, *node)?.disk()?;
            failed = disk.counts().failed;
            disk.with_store(|store| store.break_range(0..store.bytes()));
            None
        }
        Fault::DiskFull(node) => {
            let disk = machine(cluster, *node)?.disk()?;
            failed = disk.counts().failed;
            disk.with_store(|store| store.set_full(true));
            None
        }
        Fault::StepClock(node, seconds) => {
            let probe = &machine(cluster, *node)?.probe;
            let before = probe.facts()?.wall_seconds;
            probe.ask(Ask::StepClock { seconds: *seconds })?;
            let after = probe.facts()?.wall_seconds;
            let moved = after.abs_diff(before).abs_diff(seconds.unsigned_abs());
            let near = moved <= super::probe::ANSWER_LIMIT.as_secs();
            Some(proof(near, format!("its clock showed {before}, then {after}")))
        }
        Fault::HogMemory(node) => {
            machine(cluster, *node)?.probe.ask(Ask::HogMemory)?;
            Some(proof(true, "a program takes memory until it is killed"))
        }
    };
    Ok((Injected { fault, at, number, rules, swallowed, failed }, known))
}

/// Undoes it, and says what is known of its effect by then, if that wasn't known before.
pub(super) fn heal(cluster: &mut Cluster, injected: &Injected) -> Result<Option<Proof>, Stop> {
    let known = match &injected.fault {
        Fault::Freeze(node) => {
            let silent = silence(cluster, injected, *node);
            machine(cluster, *node)?.thaw()?;
            Some(silent)
        }
        Fault::Stall(node) => {
            machine(cluster, *node)?.unstall()?;
            None
        }
        Fault::PowerCut(node, _) | Fault::PowerOff(node, _) => {
            machine(cluster, *node)?.start()?;
            None
        }
        Fault::Unplug(node) => {
            machine(cluster, *node)?.set_link(true)?;
            None
        }
        Fault::BlackHole(node) => {
            let port = machine(cluster, *node)?.port;
            let count = cluster.switch.swallowed(port).saturating_sub(injected.swallowed);
            cluster.switch.connect(port, true);
            Some(proof(count > 0, format!("{count} frames were swallowed")))
        }
        Fault::Network { .. } => {
            let counts = injected.rules.iter().map(|rule| cluster.switch.remove(*rule));
            let counts: Vec<u64> = counts.collect();
            // Two that can't hear each other soon have nothing more to say: one way is proof enough.
            let any = counts.iter().any(|count| *count > 0);
            Some(proof(any, format!("the rules took {counts:?} frames")))
        }
        Fault::Hang(node, process) => {
            let ask = Ask::Resume { process: process.clone() };
            // Whoever watches over it may have ended it meanwhile.
            let _gone = machine(cluster, *node)?.probe.ask(ask);
            None
        }
        Fault::FillState(node) => {
            machine(cluster, *node)?.probe.ask(Ask::FreeState)?;
            None
        }
        Fault::DiskStall(node) => {
            let disk = machine(cluster, *node)?.disk()?;
            disk.stall(false);
            let counts = disk.counts();
            let quiet = counts.reads + counts.writes == injected.failed;
            Some(proof(quiet, "no request was served meanwhile"))
        }
        Fault::DiskBroken(node) | Fault::DiskFull(node) => {
            let disk = machine(cluster, *node)?.disk()?;
            disk.with_store(vdisk::store::Store::heal);
            let count = disk.counts().failed.saturating_sub(injected.failed);
            Some(proof(count > 0, format!("{count} requests failed")))
        }
        Fault::StepClock(node, seconds) => {
            machine(cluster, *node)?.probe.ask(Ask::StepClock { seconds: -seconds })?;
            None
        }
        Fault::Reset(_) | Fault::Kill(..) | Fault::HogMemory(_) => None,
    };
    Ok(known)
}

/// Whether a frozen node said anything that the wire's oracle understands.
fn silence(cluster: &Cluster, injected: &Injected, node: Node) -> Proof {
    let Some(port) = cluster.nodes.get(node.0).map(|machine| machine.port) else {
        return proof(false, "there is no such node");
    };
    let since = injected.at + ON_ITS_WAY;
    let said =
        cluster.switch.with_wire(|wire| wire.since(since).filter(|h| h.port == port).count());
    proof(said == 0, format!("QEMU said that it stood still; it said {said} things meanwhile"))
}

/// Waits until the probe says another boot id than before.
fn new_boot(machine: &Machine, before: &str) -> Result<bool, Stop> {
    let deadline = Instant::now() + FILL_LIMIT;
    while Instant::now() < deadline {
        if machine.probe.wait(FILL_LIMIT)? != before {
            return Ok(true);
        }
        thread::sleep(ON_ITS_WAY);
    }
    Ok(false)
}
