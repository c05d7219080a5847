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

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use ledger::check::{gap, ownership};
use ledger::client::Settings;
use ledger::client::session::Pings;
use ledger::client::tcp::Wanted;
use ledger::{Finding, History, Kind, Micros, Verdict};
use report::run::Power;
use vswitch::rule::Port;
use vswitch::wire::{Claim, Reign};

use super::cluster::{Cluster, Vip};
use super::entry::Ip;
use super::expect::{Condition, Scene};
use super::fault::{self, Fault, Injected, Node, Proof, Stop};
use super::lag::LagMeter;
use super::log::Log;
use super::machine::Machine;
use super::probe::Probe;
use super::stranger::Stranger;

/// A healthy node is ready in seven seconds; an emulated one on a busy desk takes much longer.
pub const READY_LIMIT: Duration = Duration::from_mins(2);
/// How long a cluster may take to form, which no drill but those that turn nodes on is about.
const FORM_LIMIT: Duration = Duration::from_mins(5);
/// What a node says when it is ready.
pub const READY: &str = "edgepair: ready";
/// A cluster that was healed is well again within this, or it isn't healed.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// What happens later than it may is waited for so much longer, to say how late it was.
const TO_SEE_HOW_LATE: Duration = Duration::from_secs(3);
/// Silence is believed after so many adverts.
const SILENT_ADVERTS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A port where nobody listens: the address answers by refusing, whoever has it.
const NOBODY_LISTENS: u16 = 9;
/// How often clients ask, and how long they wait.
const ASK_EVERY_MS: u64 = 25;
const ASK_LIMIT_MS: u64 = 400;
/// How long the clients may take for their last reads.
const FINISH_LIMIT: Duration = Duration::from_secs(30);
/// How much of an advert the desk may be late before it proves nothing.
const LAG_DIVISOR: u32 = 4;
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

/// Clients that run.
#[derive(Clone, Copy, Debug)]
#[must_use = "finish them, or what they saw is not looked at"]
pub struct Clients {
    from: Duration,
    offset: i64,
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
    /// Where the longest gap is looked for, and what it may be.
    pub(super) patience: Option<(Duration, Duration, Duration)>,
    /// Parts of lines of trouble that the drill causes on purpose.
    pub(super) excused: Vec<String>,
    /// When the drill's body began; what was on the wire before is no claim of it.
    pub(super) formed: Duration,
    lag: LagMeter,
    mark: Duration,
    deadline: Duration,
    clients: Option<Clients>,
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
            excused: Vec::new(),
            formed: Duration::ZERO,
            clients: None,
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
        let since = self.mark;
        let limit = READY_LIMIT.min(self.time_left()?);
        let machine = self.machine(node)?;
        let line = machine.console.wait_since(since, READY, limit);
        let Some(line) = line else {
            let last: Vec<String> =
                machine.console.lines().into_iter().rev().take(3).map(|line| line.text).collect();
            let name = machine.name.clone();
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
        thread::sleep(time.min(self.time_left()?));
        Ok(())
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

    /// Waits until something happens; it must within a time from the last mark. Gives when it did,
    /// counted from there.
    #[allow(clippy::needless_pass_by_value)] // Conditions are written where they are expected.
    pub fn expect(
        &mut self,
        what: &str,
        condition: Condition,
        limit: Duration,
    ) -> Result<Duration, Stop> {
        let from = self.mark;
        let met = self.watch(&condition, from, limit)?;
        let deadline = from + limit;
        self.expected.push(Expected { what: what.to_owned(), from, deadline, met });
        let after = met.map(|met| met.saturating_sub(from));
        match after {
            Some(after) if after <= limit => {
                let (after, limit) = (after.as_millis(), limit.as_millis());
                self.note(format!("ok    {what}: after {after} ms of {limit} ms"));
            }
            Some(after) => {
                let (after, limit) = (after.as_millis(), limit.as_millis());
                let late = format!("{what}: after {after} ms, allowed {limit} ms");
                return Err(self.late(from, late));
            }
            None => {
                let limit = limit.as_millis();
                return Err(self.late(from, format!("{what}: not within {limit} ms")));
            }
        }
        Ok(after.unwrap_or_default())
    }

    /// What didn't happen in time proves nothing on a desk that wasn't in time itself.
    fn late(&self, since: Duration, what: String) -> Stop {
        let lag = self.lag.worst_since(since);
        let allowed = self.interval() / LAG_DIVISOR;
        if lag > allowed {
            let (lag, allowed) = (lag.as_millis(), allowed.as_millis());
            return Stop::Unknown(format!(
                "{what}; but the desk lagged {lag} ms ({allowed} allowed)"
            ));
        }
        Stop::Violated(what)
    }

    /// When a condition was met; for silence, the deadline, if it was silent after it.
    fn watch(
        &mut self,
        condition: &Condition,
        from: Duration,
        limit: Duration,
    ) -> Result<Option<Duration>, Stop> {
        let end = from + limit;
        let longest = (end + TO_SEE_HOW_LATE).saturating_sub(self.now()).min(self.time_left()?);
        match condition {
            Condition::Heard(node, is_it) => {
                let scene = self.scene(*node)?;
                let found = self.cluster.switch.wait_for(longest, |wire| {
                    wire.since(from).find(|heard| is_it(heard, &scene)).map(|heard| heard.at)
                });
                Ok(found)
            }
            Condition::Silent(node, is_it) => {
                let scene = self.scene(*node)?;
                let watched = end + self.adverts(SILENT_ADVERTS);
                self.let_pass(watched.saturating_sub(self.now()))?;
                let last = self.cluster.switch.with_wire(|wire| {
                    let said = wire.since(from).filter(|heard| is_it(heard, &scene));
                    said.last().map(|heard| heard.at)
                });
                Ok(Some(last.unwrap_or(from)))
            }
            Condition::Said(node, part) => {
                let console = self.machine(*node)?.console.clone();
                Ok(console.wait_since(from, part, longest).map(|line| line.after))
            }
            Condition::Fact(node, is_true) => {
                let deadline = Instant::now() + longest;
                loop {
                    let asked = self.now();
                    if is_true(&self.probe(*node)?.facts()?) {
                        return Ok(Some(asked));
                    }
                    if Instant::now() > deadline {
                        return Ok(None);
                    }
                    thread::sleep(LOOK_AGAIN);
                }
            }
            Condition::Keeper(node, is_true) => {
                let deadline = Instant::now() + longest;
                loop {
                    let asked = self.now();
                    if self.keeper(*node).is_some_and(|status| is_true(&status)) {
                        return Ok(Some(asked));
                    }
                    if Instant::now() > deadline {
                        return Ok(None);
                    }
                    thread::sleep(LOOK_AGAIN);
                }
            }
            Condition::Off(node) => {
                let off = self.machine(*node)?.wait_for_end(longest)?;
                Ok(off.then(|| self.now()))
            }
            Condition::Answered => {
                let clients = self.clients.ok_or_else(|| Stop::Unknown("no clients".to_owned()))?;
                let tester = self.cluster.tester.as_ref();
                let tester = tester.ok_or_else(|| Stop::Unknown("no tester".to_owned()))?;
                let start = Micros::from(from);
                Ok(tester.probe.wait_for(longest, clients.offset, |operation| {
                    let new = operation.invoked >= start && operation.is_ok();
                    new.then(|| operation.completed.into())
                }))
            }
        }
    }

    fn scene(&self, node: Node) -> Result<Scene, Stop> {
        let vip = self.vip()?;
        Ok(Scene { vrid: vip.vrid, address: vip.address, port: self.port(node) })
    }

    /// Plugs a stranger in, who is no machine: it sends the frames that the drill gives it.
    pub fn stranger(&self) -> Result<Stranger, Stop> {
        let socket = self.cluster.switch.socket(self.cluster.stranger);
        let plugged = socket.map(Stranger::plug_in).transpose();
        let plugged = plugged.map_err(|error| Stop::Unknown(format!("the stranger: {error}")))?;
        plugged.ok_or_else(|| Stop::Unknown("there is no port for a stranger".to_owned()))
    }

    // The virtual address.

    /// Waits until the address has one owner, whose adverts are steady; gives it and the other node.
    pub fn vip_roles(&mut self) -> Result<(Node, Node), Stop> {
        let owner = self.steady_owner(SETTLE_LIMIT)?;
        let peer = self.nodes().into_iter().find(|node| *node != owner);
        let peer = peer.ok_or_else(|| Stop::Unknown("there is no peer".to_owned()))?;
        self.note(format!("{} has the address, {} watches", self.name(owner), self.name(peer)));
        Ok((owner, peer))
    }

    /// The node that alone has sent adverts for some of them.
    fn steady_owner(&mut self, limit: Duration) -> Result<Node, Stop> {
        let vip = self.vip()?;
        let deadline = self.now() + limit.min(self.time_left()?);
        let window = self.adverts(SILENT_ADVERTS);
        let mut seen;
        loop {
            let since = self.now().saturating_sub(window);
            seen = self.cluster.switch.with_wire(|wire| {
                let mut ports: Vec<(Port, u32)> = Vec::new();
                for heard in wire.since(since) {
                    let Claim::Advert(vrrp) = heard.claim else { continue };
                    if vrrp.vrid != vip.vrid || vrrp.source.is_ipv4() != vip.address.is_ipv4() {
                        continue;
                    }
                    match ports.iter_mut().find(|(port, _)| *port == heard.port) {
                        Some((_, count)) => *count += 1,
                        None => ports.push((heard.port, 1)),
                    }
                }
                ports
            });
            if let [(port, count)] = seen.as_slice()
                && *count + 1 >= SILENT_ADVERTS
            {
                return Ok(Node(port.0));
            }
            if self.now() > deadline {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        let who: Vec<&str> = seen.iter().map(|(port, _)| self.cluster.name_of(*port)).collect();
        let what = format!("the address has no single owner; lately adverts came from {who:?}");
        Err(self.late(self.mark, what))
    }

    /// The times since the drill's beginning in which each node was the source of adverts.
    pub fn reigns(&self) -> Vec<Reign> {
        let Some(vip) = self.cluster.vips.first() else { return Vec::new() };
        let (vrid, v6) = (vip.vrid, vip.address.is_ipv6());
        let silence = self.takeover();
        let all = self.cluster.switch.with_wire(|wire| wire.reigns(vrid, v6, silence)).into_iter();
        let since = all.filter(|reign| reign.until >= self.formed);
        since.map(|reign| Reign { from: reign.from.max(self.formed), ..reign }).collect()
    }

    /// The address had one owner at a time, but for one advert.
    pub fn single_owner(&self) -> Finding {
        let finding = ownership::single_owner(&self.ledger_reigns(), self.adverts(1).into());
        self.unless_the_desk_lagged(finding)
    }

    /// The address changed its owner at most so many times.
    pub fn owner_changes(&self, most: usize) -> Finding {
        self.unless_the_desk_lagged(ownership::owner_changes(&self.ledger_reigns(), most))
    }

    /// What is about time proves nothing on a desk that wasn't in time itself.
    fn unless_the_desk_lagged(&self, finding: Finding) -> Finding {
        if finding.verdict != Verdict::Violated {
            return finding;
        }
        match self.late(self.formed, finding.reasons.join("; ")) {
            Stop::Violated(_) => finding,
            Stop::Unknown(why) => Finding::unknown(&finding.check, why),
        }
    }

    pub(super) fn ledger_reigns(&self) -> Vec<ownership::Reign> {
        let reign = |reign: Reign| ownership::Reign {
            owner: self.cluster.name_of(reign.port).to_owned(),
            from: reign.from.into(),
            until: reign.until.into(),
        };
        self.reigns().into_iter().map(reign).collect()
    }

    // Clients.

    /// Starts clients in the tester that ask the virtual address whether anybody is there, each time
    /// by a new connection.
    pub fn start_clients(&mut self) -> Result<Clients, Stop> {
        let address = SocketAddr::new(self.vip()?.address, NOBODY_LISTENS);
        let wanted = Wanted::Anybody;
        let pings = Pings { address, wanted, every_ms: ASK_EVERY_MS, limit_ms: ASK_LIMIT_MS };
        self.start_clients_with(Settings { pings: vec![pings], postgres: None })
    }

    /// The same with other clients.
    pub fn start_clients_with(&mut self, settings: Settings) -> Result<Clients, Stop> {
        let origin = self.cluster.origin;
        let tester = self.cluster.tester.as_ref();
        let tester = tester.ok_or_else(|| Stop::Unknown("there is no tester".to_owned()))?;
        let offset = tester.probe.clock_offset(origin)?;
        let ask = ::probe::words::Ask::StartClients { settings: Box::new(settings) };
        tester.probe.ask_for(ask, FINISH_LIMIT)?;
        let clients = Clients { from: self.now(), offset };
        self.clients = Some(clients);
        self.mark();
        self.expect("clients are answered", Condition::Answered, SETTLE_LIMIT)?;
        Ok(clients)
    }

    /// Stops the clients, and gives what they saw.
    pub fn finish_clients(&mut self, clients: Clients) -> Result<History, Stop> {
        let tester = self.cluster.tester.as_ref();
        let tester = tester.ok_or_else(|| Stop::Unknown("there is no tester".to_owned()))?;
        let limit_ms = u64::try_from(FINISH_LIMIT.as_millis()).unwrap_or(u64::MAX);
        let ask = ::probe::words::Ask::StopClients { limit_ms };
        tester.probe.ask_for(ask, FINISH_LIMIT * 2)?;
        let operations = tester.probe.take_operations(clients.offset);
        self.clients = None;
        self.history.operations.extend(operations.clone());
        self.patience = Some((clients.from, self.now(), Duration::ZERO));
        Ok(History { operations })
    }

    /// Clients of the address waited no longer than the budget for an answer.
    pub fn longest_gap(&mut self, history: &History, budget: Duration) -> Finding {
        self.longest_gap_of(Kind::Ping, history, budget)
    }

    /// The span in which clients ran.
    pub(super) fn span(&self) -> Option<(Micros, Micros)> {
        self.patience.map(|(from, until, _)| (from.into(), until.into()))
    }

    /// The same for clients that ask for something else.
    pub(super) fn longest_gap_of(
        &mut self,
        kind: Kind,
        history: &History,
        budget: Duration,
    ) -> Finding {
        let (from, until) = self
            .patience
            .map_or_else(|| (Duration::ZERO, self.now()), |(from, until, _)| (from, until));
        self.patience = Some((from, until, budget));
        let span = (from.into(), until.into());
        let finding = gap::longest_gap(history, kind, span, budget.into());
        self.unless_the_desk_lagged(finding)
    }

    // The end.

    /// After all is healed: every node runs and is ready, and the address has one owner who holds it
    /// and nobody else does.
    pub fn settle(&mut self) -> Result<(), Stop> {
        for node in self.nodes() {
            if !self.machine(node)?.is_running()? {
                return Err(Stop::Unknown(format!(
                    "{} was never turned on again",
                    self.name(node)
                )));
            }
            self.machine(node)?.probe.wait(READY_LIMIT)?;
        }
        if self.cluster.vips.is_empty() {
            return Ok(());
        }
        let owner = self.steady_owner(SETTLE_LIMIT)?;
        let address = self.vip()?.address;
        for node in self.nodes() {
            let (holds, wanted) = (self.holds(node, address)?, node == owner);
            if holds != wanted {
                let name = self.name(node);
                let what = if holds { "still has the address" } else { "lacks its address" };
                return Err(Stop::Violated(format!("after all was healed {name} {what}")));
            }
        }
        self.note(format!("settled: {} has the address", self.name(owner)));
        Ok(())
    }

    /// Whether a node has an address on a link.
    pub fn holds(&self, node: Node, address: IpAddr) -> Result<bool, Stop> {
        Ok(self.probe(node)?.facts()?.addresses.contains(&address))
    }

    /// Adds what a checker found.
    pub fn check(&mut self, finding: Finding) {
        let (verdict, reasons) = (finding.verdict, finding.reasons.join("; "));
        self.note(format!("{verdict}: {}: {reasons}", finding.check));
        self.findings.push(finding);
    }

    /// Holds or is violated, for what no checker knows.
    pub fn assert(&mut self, claim: &str, holds: bool, seen: impl Into<String>) {
        let finding =
            if holds { Finding::pass(claim, seen) } else { Finding::violated(claim, seen) };
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
