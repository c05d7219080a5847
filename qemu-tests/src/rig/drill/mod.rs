//! What a drill works with: a cluster, its faults, its expectations, its clients.
//!
//! ```text
//!   let (owner, peer) = t.vip_roles()?;               who has the address
//!   let clients = t.start_clients()?;                 somebody who uses it
//!   let frozen = t.inject(owner.freeze())?;           something goes wrong, provably
//!   t.expect("the peer claims", claims(peer), t.adverts(4))?;
//!   t.heal(frozen)?;
//!   t.expect("the old owner yields", yields(owner), t.adverts(1))?;
//!   t.settle()?;                                      all is well again
//!   let history = t.finish_clients(clients)?;
//!   t.check(t.longest_gap(&history, t.adverts(5)));
//! ```
//! Deadlines count from the last fault, heal or [`Drill::mark`], so on the run's clock and not from
//! when the drill's thread got around to looking.

mod address;
mod clients;
mod expecting;

use std::thread;
use std::time::Duration;

use ledger::{Finding, History};
use report::run::{Measure, Patience, Power};
use vswitch::rule::Port;

pub use self::clients::Clients;
use super::cluster::{Cluster, Vip};
use super::entry::Ip;
use super::fault::{self, Fault, Injected, Node, Proof, Stop};
use super::lag::LagMeter;
use super::log::Log;
use super::machine::Machine;
use super::probe::Probe;
use super::stranger::Stranger;

/// A healthy node is ready in seven seconds; an emulated one on a busy desk takes much longer.
pub const READY_LIMIT: Duration = Duration::from_mins(2);
/// How long a cluster may take to form, which no drill but those that turn nodes on is about. Three
/// members of Patroni, each with a Python to load and a database to copy, take almost five minutes.
const FORM_LIMIT: Duration = Duration::from_mins(10);
/// What a node says when it is ready.
pub const READY: &str = "edgepair: ready";
/// A cluster that was healed is well again within this, or it isn't healed.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// Silence is believed after so many adverts.
const SILENT_ADVERTS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Without a virtual address, what deadlines are measured in.
const NO_INTERVAL: Duration = Duration::from_secs(1);

/// A fault as it went, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpan {
    pub label: String,
    pub nodes: Vec<Node>,
    pub from: Duration,
    pub until: Option<Duration>,
    pub proof: Option<Proof>,
}

/// Something that had to happen, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub what: String,
    pub from: Duration,
    pub deadline: Duration,
    /// When it happened, late or not.
    pub met: Option<Duration>,
}

/// How a machine is, from a moment on, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerChange {
    pub node: Node,
    pub at: Duration,
    pub power: Power,
}

/// The context of a running drill.
#[derive(Debug)]
pub struct Drill {
    pub cluster: Cluster,
    pub log: Log,
    /// The version that this run is about.
    pub ip: Ip,
    pub seed: u64,
    pub(super) faults: Vec<FaultSpan>,
    pub(super) expected: Vec<Expected>,
    pub(super) power: Vec<PowerChange>,
    pub(super) findings: Vec<Finding>,
    pub(super) history: History,
    /// Whose longest gap is looked for, where, and what it may be.
    pub(super) patience: Option<Patience>,
    pub(super) measures: Vec<Measure>,
    /// Parts of lines of trouble that the drill causes on purpose.
    pub(super) excused: Vec<String>,
    /// When the drill's body began; what was on the wire before is no claim of it.
    pub(super) formed: Duration,
    lag: LagMeter,
    mark: Duration,
    deadline: Duration,
    clients: Option<Clients>,
    /// The pair was in sync, and nothing has gone wrong since.
    pub(in crate::rig) settled: bool,
    step: bool,
}

impl Drill {
    pub(super) fn new(cluster: Cluster, log: Log, (ip, seed): (Ip, u64), step: bool) -> Self {
        let lag = LagMeter::start(cluster.origin);
        let mark = cluster.now();
        Self {
            lag,
            mark,
            deadline: mark + FORM_LIMIT,
            cluster,
            log,
            ip,
            seed,
            faults: Vec::new(),
            expected: Vec::new(),
            power: Vec::new(),
            findings: Vec::new(),
            history: History::default(),
            patience: None,
            measures: Vec::new(),
            excused: Vec::new(),
            formed: Duration::ZERO,
            clients: None,
            settled: false,
            step,
        }
    }

    // Who and what there is.

    /// All nodes, in the order of the cluster file.
    pub fn nodes(&self) -> Vec<Node> {
        (0..self.cluster.nodes.len()).map(Node).collect()
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Result<Node, Stop> {
        let place = self.cluster.nodes.iter().position(|machine| machine.name == name);
        place.map(Node).ok_or_else(|| Stop::Unknown(format!("the cluster has no node {name}")))
    }

    pub fn name(&self, node: Node) -> &str {
        self.cluster.nodes.get(node.0).map_or("?", |machine| &machine.name)
    }

    pub fn machine(&mut self, node: Node) -> Result<&mut Machine, Stop> {
        let missing = || Stop::Unknown(format!("the cluster has no node {}", node.0));
        self.cluster.nodes.get_mut(node.0).ok_or_else(missing)
    }

    pub fn probe(&self, node: Node) -> Result<&Probe, Stop> {
        let missing = || Stop::Unknown(format!("the cluster has no node {}", node.0));
        self.cluster.nodes.get(node.0).map(|machine| &machine.probe).ok_or_else(missing)
    }

    /// The way to the machine that has the clients.
    pub(in crate::rig) fn tester_probe(&self) -> Result<&Probe, Stop> {
        let tester = self.cluster.tester.as_ref().map(|tester| &tester.probe);
        tester.ok_or_else(|| Stop::Unknown("there is no tester".to_owned()))
    }

    pub fn port(&self, node: Node) -> Port {
        Port(node.0)
    }

    /// The virtual address that the run is about.
    pub fn vip(&self) -> Result<Vip, Stop> {
        let first = self.cluster.vips.first().cloned();
        first.ok_or_else(|| Stop::Unknown("the cluster has no virtual address".to_owned()))
    }

    /// The time of so many adverts: what budgets are measured in.
    pub fn adverts(&self, count: u32) -> Duration {
        self.interval() * count
    }

    fn interval(&self) -> Duration {
        self.cluster.vips.first().map_or(NO_INTERVAL, |vip| vip.interval)
    }

    /// After so long a silence a Backup takes over, whatever its priority: three adverts and the
    /// longest skew there is.
    pub fn takeover(&self) -> Duration {
        self.adverts(4)
    }

    /// The time since the run's beginning.
    pub fn now(&self) -> Duration {
        self.cluster.now()
    }

    // What the drill does.

    /// Tells the reader of the report something.
    pub fn note(&self, text: impl Into<String>) {
        self.log.note(self.now(), text);
    }

    /// From now on deadlines count from here.
    pub fn mark(&mut self) {
        self.mark = self.now();
    }

    /// Turns a node on, and doesn't wait for it.
    pub fn start(&mut self, node: Node) -> Result<(), Stop> {
        self.mark();
        self.note(format!("turn {} on", self.name(node)));
        self.power.push(PowerChange { node, at: self.mark, power: Power::Booting });
        Ok(self.machine(node)?.start()?)
    }

    /// Waits until a node that was turned on is ready.
    pub fn wait_ready(&mut self, node: Node) -> Result<Duration, Stop> {
        self.wait_ready_within(node, READY_LIMIT)
    }

    /// The same for machines that take longer than ours.
    pub fn wait_ready_within(&mut self, node: Node, limit: Duration) -> Result<Duration, Stop> {
        let since = self.mark;
        let (wanted, limit) = (self.now() + limit, limit.min(self.time_left()?));
        let machine = self.machine(node)?;
        let line = machine.console.wait_since(since, READY, limit);
        let Some(line) = line else {
            let (name, console) = (machine.name.clone(), machine.console.clone());
            self.was_waited_until(wanted)?;
            let last: Vec<String> =
                console.lines().into_iter().rev().take(3).map(|line| line.text).collect();
            return Err(Stop::Violated(format!(
                "{name} was not ready within {:.0} s; its last lines: {last:?}",
                limit.as_secs_f64()
            )));
        };
        machine.probe.wait(limit)?;
        self.power.push(PowerChange { node, at: line.after, power: Power::On });
        Ok(line.after)
    }

    /// Lets time pass, because the passing of time is what the drill is about.
    pub fn let_pass(&self, time: Duration) -> Result<(), Stop> {
        let wanted = self.now() + time;
        thread::sleep(time.min(self.time_left()?));
        self.was_waited_until(wanted)
    }

    /// Makes something go wrong. What can be proven at once is: without effect, the run is unknown.
    pub fn inject(&mut self, fault: Fault) -> Result<Injected, Stop> {
        let label = fault.label(&self.cluster);
        self.pause_before(&label);
        self.mark();
        self.log.note(self.mark, format!("FAULT {label}"));
        let (number, nodes) = (self.faults.len(), fault.nodes());
        let span = FaultSpan { label, nodes, from: self.mark, until: None, proof: None };
        self.faults.push(span);
        self.settled = false;
        self.note_power(&fault, true);
        let (injected, proof) = fault::inject(&mut self.cluster, fault, number)?;
        self.take_proof(number, proof)?;
        Ok(injected)
    }

    /// Ends a fault, which is over then.
    #[allow(clippy::needless_pass_by_value)]
    pub fn heal(&mut self, injected: Injected) -> Result<(), Stop> {
        let number = injected.number;
        let label = self.faults.get(number).map_or("", |span| &span.label).to_owned();
        self.pause_before(&format!("heal: {label}"));
        self.mark();
        self.log.note(self.mark, format!("HEAL  {label}"));
        self.note_power(&injected.fault, false);
        let proof = fault::heal(&mut self.cluster, &injected)?;
        if let Some(span) = self.faults.get_mut(number) {
            span.until = Some(self.mark);
        }
        self.take_proof(number, proof)
    }

    /// What a fault, or its end, makes of its machines.
    fn note_power(&mut self, fault: &Fault, begins: bool) {
        let power = match (fault, begins) {
            (Fault::Freeze(_), true) => Power::Frozen,
            (Fault::Stall(_), true) => Power::Stalled,
            (Fault::PowerCut(..) | Fault::PowerOff(..), true) => Power::Off,
            (Fault::Freeze(_) | Fault::Stall(_), false) => Power::On,
            (Fault::PowerCut(..) | Fault::PowerOff(..), false) | (Fault::Reset(_), true) => {
                Power::Booting
            }
            _ => return,
        };
        let at = self.mark;
        self.power.extend(fault.nodes().into_iter().map(|node| PowerChange { node, at, power }));
    }

    fn take_proof(&mut self, number: usize, proof: Option<Proof>) -> Result<(), Stop> {
        let (Some(proof), Some(span)) = (proof, self.faults.get_mut(number)) else { return Ok(()) };
        span.proof = Some(proof.clone());
        if proof.bit {
            return Ok(());
        }
        Err(Stop::Unknown(format!("\"{}\" had no effect: {}", span.label, proof.how)))
    }

    /// Plugs a stranger in, who is no machine: it sends the frames that the drill gives it.
    pub fn stranger(&self) -> Result<Stranger, Stop> {
        let socket = self.cluster.switch.socket(self.cluster.stranger);
        let plugged = socket.map(Stranger::plug_in).transpose();
        let plugged = plugged.map_err(|error| Stop::Unknown(format!("the stranger: {error}")))?;
        plugged.ok_or_else(|| Stop::Unknown("there is no port for a stranger".to_owned()))
    }

    /// Adds what a checker found.
    pub fn check(&mut self, finding: Finding) {
        let (verdict, reasons) = (finding.verdict, finding.reasons.join("; "));
        self.note(format!("{verdict}: {}: {reasons}", finding.check));
        self.findings.push(finding);
    }

    /// Keeps a figure for whoever compares runs; its name ends with the unit.
    pub fn measure(&mut self, name: &str, value: u64) {
        self.note(format!("measured: {name} {value}"));
        self.measures.push(Measure { name: name.to_owned(), value });
    }

    /// The same for the milliseconds since the last fault, heal or mark.
    pub fn measure_since_mark(&mut self, name: &str) {
        let took = self.now().saturating_sub(self.mark).as_millis();
        self.measure(name, u64::try_from(took).unwrap_or(u64::MAX));
    }

    /// Holds or is violated, for what no checker knows.
    pub fn assert(&mut self, claim: &str, holds: bool, seen: impl Into<String>) {
        self.check(found(claim, holds, seen));
    }

    /// The same for what is about time, which proves nothing on a desk that wasn't in time itself.
    pub fn assert_in_time(&mut self, claim: &str, holds: bool, seen: impl Into<String>) {
        let finding = self.unless_the_desk_lagged(found(claim, holds, seen));
        self.check(finding);
    }

    /// Lines of consoles with this in them are no trouble: the drill causes them.
    pub fn excuse(&mut self, part: impl Into<String>) {
        self.excused.push(part.into());
    }

    /// The worst lag of the desk since a time.
    pub fn worst_lag(&self, since: Duration) -> Duration {
        self.lag.worst_since(since)
    }

    /// The cluster is there: from now on the drill's own time counts.
    pub(super) fn begin(&mut self, limit: Duration) {
        self.mark();
        self.formed = self.mark;
        self.deadline = self.mark + limit;
    }

    pub(super) fn time_left(&self) -> Result<Duration, Stop> {
        let left = self.deadline.saturating_sub(self.now());
        if left.is_zero() {
            return Err(Stop::Unknown("the drill's own time is over".to_owned()));
        }
        Ok(left)
    }

    /// A wait that the drill's own time cut short proves nothing.
    pub(in crate::rig) fn was_waited_until(&self, deadline: Duration) -> Result<(), Stop> {
        if self.now() < deadline {
            self.time_left()?;
        }
        Ok(())
    }

    fn pause_before(&mut self, what: &str) {
        if !self.step {
            return;
        }
        eprintln!("-- next: {what}; Enter goes on");
        let began = self.now();
        let mut line = String::new();
        // Without anybody at the terminal it goes on by itself.
        let _answered = std::io::stdin().read_line(&mut line);
        // A person's time isn't the drill's.
        self.deadline += self.now().saturating_sub(began);
    }
}

fn found(claim: &str, holds: bool, seen: impl Into<String>) -> Finding {
    if holds { Finding::pass(claim, seen) } else { Finding::violated(claim, seen) }
}
