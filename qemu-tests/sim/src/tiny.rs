//! A site small enough to be explored: two cores, one witness, rounds instead of time.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use failover::{
    Action, Arbiter, Command, Configuration, Data, Event, Failover, Lsn, Members, PgCommand,
    PgReport, Record, Register, Rules, Settings, Side, State, Ticket, Timeline,
};

use crate::explore::{ROUND, short_times};
use crate::pg::{Pg, Role};
use crate::plan::CLUSTER;

/// Clients write so often in one history at most: more would only multiply states.
const WRITES_MAX: u32 = 3;
/// The clock of every node after each round; older times are all alike, and end at zero.
const NOW: Duration = Duration::from_secs(3);
/// Exchanges within a round. Five suffice for claim, consent, promotion and publication.
const PASSES: usize = 6;

/// The network's condition for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// Whole.
    Whole,
    /// The peers can't reach each other.
    Cut,
    /// Nothing arrives from A at B.
    OneWay,
    /// Nothing arrives from B at A.
    OtherWay,
    /// A reaches nothing.
    AloneA,
    /// B reaches nothing.
    AloneB,
    /// The witness is away.
    NoWitness,
    /// The witness is away, and the peers can't reach each other.
    CutNoWitness,
}

/// What befalls the nodes in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nothing.
    Nothing,
    /// A is without power.
    DownA,
    /// B is without power.
    DownB,
    /// Both are without power.
    DownBoth,
    /// A stands still, and its clock with it.
    FreezeA,
    /// B stands still, and its clock with it.
    FreezeB,
    /// A stands still; its clock doesn't.
    StallA,
    /// B stands still; its clock doesn't.
    StallB,
    /// A loses power just before its next fsync.
    BeforeSyncA,
    /// B loses power just before its next fsync.
    BeforeSyncB,
    /// A loses power just after its next fsync.
    AfterSyncA,
    /// B loses power just after its next fsync.
    AfterSyncB,
    /// PostgreSQL crashes on the primary.
    PgCrash,
    /// The operator orders a switchover.
    Switchover,
}

impl Touch {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Nothing,
        Self::DownA,
        Self::DownB,
        Self::DownBoth,
        Self::FreezeA,
        Self::FreezeB,
        Self::StallA,
        Self::StallB,
        Self::BeforeSyncA,
        Self::BeforeSyncB,
        Self::AfterSyncA,
        Self::AfterSyncB,
        Self::PgCrash,
        Self::Switchover,
    ];

    fn downs(self, side: Side) -> bool {
        self == Self::DownBoth || self == [Self::DownA, Self::DownB][side.index()]
    }

    fn freezes(self, side: Side) -> bool {
        self == [Self::FreezeA, Self::FreezeB][side.index()]
    }

    fn stalls(self, side: Side) -> bool {
        self == [Self::StallA, Self::StallB][side.index()]
    }

    /// Whether it strikes at an fsync, and whether that fsync is done.
    fn strikes(self, side: Side) -> Option<bool> {
        let before = [Self::BeforeSyncA, Self::BeforeSyncB][side.index()];
        let after = [Self::AfterSyncA, Self::AfterSyncB][side.index()];
        [(before, false), (after, true)]
            .into_iter()
            .find_map(|(touch, done)| (self == touch).then_some(done))
    }
}

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The network.
    pub net: Net,
    /// The nodes.
    pub touch: Touch,
    /// Whether a client writes wherever a gate is open.
    pub write: bool,
}

#[derive(Clone, Debug)]
struct Node {
    core: Option<Failover>,
    disk: Option<Record>,
    pg: Pg,
    gate: bool,
    now: Duration,
    boots: u64,
    /// Struck in this round: no power until the next.
    dark: bool,
}

/// The whole small site.
#[derive(Clone, Debug)]
pub(crate) struct Tiny {
    arbiter: Arbiter,
    rules: Rules,
    nodes: [Node; 2],
    witness: Register,
    serial: u32,
    writes: u32,
    acked: Vec<(usize, u32)>,
    acted: Vec<Configuration>,
    round: Round,
    running: [bool; 2],
    outbox: Vec<(Side, Event)>,
    /// Fences that were begun.
    cuts: Vec<(Side, Ticket)>,
    pub(crate) violation: Option<String>,
}

impl Tiny {
    pub(crate) fn new(arbiter: Arbiter, rules: Rules) -> Self {
        let node = || Node {
            core: None,
            disk: None,
            pg: Pg::new(Data::Missing),
            gate: false,
            now: NOW,
            boots: 0,
            dark: false,
        };
        Self {
            arbiter,
            rules,
            nodes: [node(), node()],
            witness: Register::empty(CLUSTER, 1),
            serial: 0,
            writes: 0,
            acked: Vec::new(),
            acted: Vec::new(),
            round: Round { net: Net::Whole, touch: Touch::Nothing, write: false },
            running: [true; 2],
            outbox: Vec::new(),
            cuts: Vec::new(),
            violation: None,
        }
    }

    pub(crate) fn may_write(&self) -> bool {
        self.writes < WRITES_MAX && self.nodes.iter().any(|node| node.gate)
    }

    pub(crate) fn states(&self) -> [Option<State>; 2] {
        [0, 1].map(|place| self.nodes[place].core.as_ref().map(|core| core.status().state))
    }

    pub(crate) fn is_whole(&self) -> bool {
        let states = self.states();
        let gate = self.nodes.iter().any(|node| node.gate);
        gate && (states == [Some(State::PSync), Some(State::SSync)]
            || states == [Some(State::SSync), Some(State::PSync)])
    }

    fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    fn reaches(&self, from: Side) -> bool {
        match self.round.net {
            Net::Whole | Net::NoWitness => true,
            Net::OneWay => from == Side::B,
            Net::OtherWay => from == Side::A,
            Net::Cut | Net::AloneA | Net::AloneB | Net::CutNoWitness => false,
        }
    }

    fn reaches_outside(&self, side: Side) -> bool {
        self.round.net != [Net::AloneA, Net::AloneB][side.index()]
    }

    fn has_witness(&self, side: Side) -> bool {
        let away = matches!(self.round.net, Net::NoWitness | Net::CutNoWitness);
        !away && self.reaches_outside(side)
    }

    /// Runs one round.
    pub(crate) fn run(&mut self, round: Round) {
        self.round = round;
        for side in Side::BOTH {
            self.begin(side);
        }
        for side in Side::BOTH {
            self.disturb(side);
        }
        for _ in 0..PASSES {
            for side in Side::BOTH {
                self.tick(side);
            }
            self.exchange();
            self.replicate();
            if round.write {
                self.write();
            }
        }
        // What is still under way arrives as well, so that nothing of a round is left for the next
        // but what a node that stands still has yet to hear from its own machine.
        for _ in 0..PASSES {
            self.exchange();
        }
        for node in &mut self.nodes {
            if let Some(core) = &mut node.core {
                core.shift_back(node.now.saturating_sub(NOW));
            }
            node.now = NOW;
        }
    }

    /// Power, and the clock.
    fn begin(&mut self, side: Side) {
        let touch = self.round.touch;
        if touch.downs(side) {
            self.power_off(side);
        }
        self.nodes[side.index()].dark = false;
        self.running[side.index()] = !(touch.freezes(side) || touch.stalls(side));
        let off = touch.downs(side);
        let node = &mut self.nodes[side.index()];
        if !touch.freezes(side) {
            node.now += ROUND;
        }
        if node.core.is_none() && !off {
            node.boots += 1;
            let settings = Settings {
                cluster: CLUSTER,
                side,
                arbiter: self.arbiter,
                times: short_times(self.arbiter),
                rules: self.rules,
            };
            node.core = Some(Failover::new(settings));
            let recall = match node.disk {
                Some(record) => failover::Recall::Found(record),
                None => failover::Recall::Missing,
            };
            let nonce = node.boots * 2 + side.index() as u64 + 1;
            let data = node.pg.data;
            self.step(side, &Event::Boot { recall, data, nonce });
        }
    }

    fn power_off(&mut self, side: Side) {
        self.outbox.retain(|(to, _)| *to != side);
        self.cuts.retain(|(fencer, _)| *fencer != side);
        let node = &mut self.nodes[side.index()];
        node.core = None;
        node.gate = false;
        node.dark = true;
        node.pg.kill();
    }

    fn disturb(&mut self, side: Side) {
        if !self.is_running(side) {
            return;
        }
        match self.round.touch {
            Touch::PgCrash if self.nodes[side.index()].pg.is_primary() => {
                self.nodes[side.index()].pg.kill();
                // News comes in the order in which it happened.
                self.outbox.push((side, Event::Postgres(PgReport::Exited)));
            }
            Touch::Switchover => self.step(side, &Event::Operator(Command::Switchover)),
            _ => {}
        }
    }

    fn is_running(&self, side: Side) -> bool {
        let node = &self.nodes[side.index()];
        self.running[side.index()] && node.core.is_some() && !node.dark
    }

    fn tick(&mut self, side: Side) {
        if !self.is_running(side) {
            return;
        }
        if self.reaches_outside(side) {
            self.step(side, &Event::GatewayAnswered);
        }
        let pg = &self.nodes[side.index()].pg;
        if pg.role != Role::Stopped {
            let peer = pg.peer_seen.map(|_| Lsn(pg.peer_flush as u64));
            let peer = peer.filter(|_| pg.is_primary());
            let (timeline, lsn) = (Timeline(pg.timeline), pg.lsn());
            self.step(side, &Event::Postgres(PgReport::Status { timeline, lsn, peer }));
        }
        self.step(side, &Event::Tick);
    }

    fn step(&mut self, side: Side, event: &Event) {
        let mut actions = Vec::new();
        let node = &mut self.nodes[side.index()];
        let now = node.now;
        if let Some(core) = &mut node.core {
            core.step(now, event, &mut actions);
        }
        for action in actions {
            if self.nodes[side.index()].core.is_some() {
                self.act(side, action);
            }
        }
    }

    fn act(&mut self, side: Side, action: Action) {
        let place = side.index();
        match action {
            Action::Persist(ticket, record) => self.persist(side, ticket, record),
            Action::Send(heartbeat) if self.reaches(side) => {
                self.outbox.push((side.peer(), Event::Heard(0, heartbeat)));
            }
            Action::Ask(ask) if self.has_witness(side) => {
                let answer = self.witness.ask_by(&ask, &self.rules);
                self.outbox.push((side, Event::Witness(answer)));
            }
            Action::Fence(ticket) => self.cuts.push((side, ticket)),
            Action::CallOffFence(_) => self.cuts.retain(|(fencer, _)| *fencer != side),
            Action::OpenGate(_) => {
                self.nodes[place].gate = true;
                self.judge_open(side);
            }
            Action::CloseGate => {
                self.nodes[place].gate = false;
                self.nodes[place].pg.waiting.clear();
            }
            Action::Postgres(ticket, command) => {
                let done = self.command(side, command);
                let pg = &self.nodes[place].pg;
                let report = if done {
                    PgReport::Done(ticket, Timeline(pg.timeline), pg.lsn())
                } else {
                    PgReport::Failed(ticket)
                };
                self.outbox.push((side, Event::Postgres(report)));
            }
            _ => {}
        }
    }

    fn persist(&mut self, side: Side, ticket: Ticket, record: Record) {
        let strike = self.round.touch.strikes(side);
        let before = self.nodes[side.index()].disk;
        if strike != Some(false) {
            self.nodes[side.index()].disk = Some(record);
            if before.is_some_and(|before| before.config.epoch > record.config.epoch) {
                self.violate(|| format!("I6: {side:?} goes back to {:?}", record.config));
            }
            if record.voter && record.config.led_by(side) {
                self.judge_acting(record.config);
            }
        }
        if strike.is_some() {
            self.power_off(side);
        } else {
            self.outbox.push((side, Event::Persisted(ticket)));
        }
    }

    /// Delivers what was sent, and what that causes, until nothing is under way.
    fn exchange(&mut self) {
        let sent = std::mem::take(&mut self.outbox);
        for (side, event) in sent {
            let own = matches!(event, Event::Persisted(_) | Event::Postgres(_) | Event::Fenced(..));
            if self.is_running(side) {
                self.step(side, &event);
            } else if own && self.nodes[side.index()].core.is_some() {
                // What a node's own machine has to say waits until the node goes on.
                self.outbox.push((side, event));
            }
        }
        self.cut_power();
    }

    /// Fences that nobody has called off strike. The last words of whom they strike are lost.
    fn cut_power(&mut self) {
        for (fencer, ticket) in std::mem::take(&mut self.cuts) {
            if self.nodes[fencer.index()].core.is_some() {
                self.power_off(fencer.peer());
                self.outbox
                    .retain(|(to, event)| *to != fencer || !matches!(event, Event::Heard(..)));
                self.outbox.push((fencer, Event::Fenced(ticket, true)));
            }
        }
    }

    fn command(&mut self, side: Side, command: PgCommand) -> bool {
        self.serial += 1;
        let serial = self.serial;
        let peer = &self.nodes[side.peer().index()];
        let source = (self.is_running(side.peer()) && peer.pg.is_primary() && self.round_trip())
            .then(|| (peer.pg.wal.clone(), peer.pg.timeline));
        let alone = self.nodes[side.index()].disk.is_some_and(|record| {
            record.config.led_by(side) && record.config.members == Members::Leader
        });
        let frees = matches!(
            command,
            PgCommand::Promote | PgCommand::ReleasePeer | PgCommand::StartPrimary { wait: false }
        );
        if frees && !alone {
            self.violate(|| format!("I6: {side:?} shall {command:?} without authority"));
        }
        let pg = &mut self.nodes[side.index()].pg;
        match command {
            PgCommand::InitDb => {
                pg.wal = vec![serial];
                pg.data = Data::Primary;
            }
            PgCommand::StartPrimary { wait } => {
                pg.kill();
                pg.role = Role::Primary { waiting: wait };
                pg.wal.push(serial);
                pg.data = Data::Primary;
            }
            PgCommand::StartStandby { receive } => {
                pg.role = Role::Standby { receiving: receive };
                pg.data = Data::Standby;
            }
            PgCommand::StopReceiver => pg.role = Role::Standby { receiving: false },
            PgCommand::Promote => {
                pg.kill();
                pg.timeline += 1;
                pg.role = Role::Primary { waiting: false };
                pg.wal.push(serial);
                pg.data = Data::Primary;
            }
            PgCommand::RequirePeer => pg.role = Role::Primary { waiting: true },
            PgCommand::ReleasePeer => {
                pg.role = Role::Primary { waiting: false };
                let waiting = std::mem::take(&mut pg.waiting);
                for place in waiting {
                    self.acknowledge(side, place);
                }
            }
            PgCommand::Stop | PgCommand::StopClean => pg.kill(),
            PgCommand::Rewind | PgCommand::Reclone => {
                let Some((wal, timeline)) = source else { return false };
                pg.kill();
                pg.wal = wal;
                pg.timeline = timeline;
                pg.data = Data::Standby;
            }
        }
        true
    }

    fn round_trip(&self) -> bool {
        Side::BOTH.into_iter().all(|side| self.reaches(side))
    }

    /// A connected standby gets all, and says so.
    fn replicate(&mut self) {
        for side in Side::BOTH {
            let (primary, standby) = (side, side.peer());
            let streams = self.is_running(primary)
                && self.is_running(standby)
                && self.round_trip()
                && self.nodes[primary.index()].pg.is_primary()
                && self.nodes[standby.index()].pg.role == (Role::Standby { receiving: true });
            if !streams {
                self.nodes[primary.index()].pg.peer_seen = None;
                continue;
            }
            let pg = &self.nodes[primary.index()].pg;
            let wal = pg.wal.clone();
            if !pg.continues(&self.nodes[standby.index()].pg.wal) {
                self.step(standby, &Event::Postgres(PgReport::CannotFollow));
                continue;
            }
            self.nodes[standby.index()].pg.wal = wal;
            let withdrawn = self.nodes[standby.index()]
                .disk
                .is_some_and(|record| record.claim.is_some() && record.config.led_by(primary));
            if withdrawn {
                continue; // The receiver is being stopped in this very pass.
            }
            let pg = &mut self.nodes[primary.index()].pg;
            pg.peer_seen = Some(0);
            pg.peer_flush = pg.wal.len();
            let waiting = std::mem::take(&mut pg.waiting);
            for place in waiting {
                self.acknowledge(primary, place);
            }
        }
    }

    fn write(&mut self) {
        for side in Side::BOTH {
            let node = &self.nodes[side.index()];
            let open = self.is_running(side) && node.gate && node.pg.is_primary();
            if !open || self.writes >= WRITES_MAX {
                continue;
            }
            self.writes += 1;
            self.serial += 1;
            let serial = self.serial;
            let pg = &mut self.nodes[side.index()].pg;
            pg.wal.push(serial);
            let place = pg.wal.len() - 1;
            if pg.waits() {
                pg.waiting.push(place);
            } else {
                self.acknowledge(side, place);
            }
        }
    }

    fn newest(&self) -> Option<Configuration> {
        self.acted.iter().copied().max_by_key(|config| config.epoch)
    }

    fn is_stale(&self, side: Side) -> bool {
        let own = self.nodes[side.index()].disk.map(|record| record.config.epoch);
        own < self.newest().map(|config| config.epoch)
    }

    fn acknowledge(&mut self, side: Side, place: usize) {
        if !self.nodes[side.index()].gate {
            return;
        }
        let serial = self.nodes[side.index()].pg.wal[place];
        let today = &self.nodes[side.peer().index()].pg.wal;
        if self.is_stale(side) && today.get(place) != Some(&serial) {
            self.violate(|| format!("I2: {side:?} acknowledges what its successor doesn't have"));
        }
        self.acked.push((place, serial));
    }

    fn judge_open(&mut self, side: Side) {
        let wal = &self.nodes[side.index()].pg.wal;
        let lost = self.acked.iter().any(|(place, serial)| wal.get(*place) != Some(serial));
        if lost && !self.is_stale(side) {
            self.violate(|| format!("I1: {side:?} leads without an acknowledged commit"));
        }
    }

    fn judge_acting(&mut self, config: Configuration) {
        let rival = self
            .acted
            .iter()
            .find(|known| known.base == config.base && known.leader != config.leader)
            .copied();
        if let Some(rival) = rival {
            self.violate(|| format!("I5: {config:?} and {rival:?} follow the same base"));
        }
        if !self.acted.contains(&config) {
            self.acted.push(config);
        }
    }
}

/// What makes two small sites behave alike from here on.
impl Hash for Tiny {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [a, b] = &self.nodes;
        let common = a.pg.wal.iter().zip(&b.pg.wal).take_while(|(one, two)| one == two).count();
        for node in &self.nodes {
            node.core.hash(hasher);
            node.disk.hash(hasher);
            let pg = &node.pg;
            (node.gate, node.dark, pg.data, pg.role, pg.wal.len() - common).hash(hasher);
            (pg.peer_seen, pg.wal.len() - pg.peer_flush.min(pg.wal.len())).hash(hasher);
            let waiting: Vec<usize> = pg.waiting.iter().map(|place| pg.wal.len() - place).collect();
            waiting.hash(hasher);
            node.core.as_ref().map(|core| core.status().peer_has_all).hash(hasher);
        }
        self.witness.hash(hasher);
        self.writes.hash(hasher);
        for (place, serial) in self.acked.iter().filter(|(place, _)| *place >= common) {
            let has = |node: &Node| node.pg.wal.get(*place) == Some(serial);
            (place - common, has(a), has(b)).hash(hasher);
        }
        self.newest().hash(hasher);
        for (side, event) in &self.outbox {
            let done = matches!(event, Event::Postgres(PgReport::Done(..)));
            (side, std::mem::discriminant(event), done).hash(hasher);
        }
    }
}
