//! The simulated site: two machines, perhaps a witness, the network between them, and time.
//!
//! One heap of events, one clock of the world, and a clock per machine that may run at another rate,
//! stop, or jump. Everything random comes from the plan's seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use failover::{
    Action, Answer, Ask, Data, Epoch, Event, Failover, Heartbeat, PgCommand, PgReport, Record,
    Register, Side, Ticket,
};

use crate::judge::Judge;
use crate::pg::{Pg, Role};
use crate::plan::{CLUSTER, MS, Micros, Plan};
use crate::rng::Rng;

/// Something that will happen in the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ev {
    /// A core wants to be stepped.
    Wake(Side),
    /// A heartbeat arrives.
    Beat { to: Side, slot: u32, channel: u8 },
    /// A question arrives at the witness.
    Ask(Ask),
    /// The witness's answer arrives.
    Answer(Side, Answer),
    /// A record is durable.
    Persisted(Side, u32, Ticket),
    /// PostgreSQL has done what it was told.
    PgDone(Side, u32, Ticket, PgCommand),
    /// WAL arrives at a standby.
    Wal { to: Side, life: u32, upto: usize },
    /// A standby's acknowledgement arrives at the primary.
    WalAck { to: Side, life: u32, upto: usize },
    /// Replication and gateways are looked after.
    Pump,
    /// Clients write and read.
    Client,
    /// A fault begins.
    FaultBegins(usize),
    /// A fault is over.
    FaultEnds(usize),
    /// A machine gets power.
    Boot(Side, u32),
    /// A machine that stood still goes on.
    Resume(Side, u32),
    /// A fence command ends.
    FenceDone(Side, u32, Ticket),
    /// Kine's revision was moved.
    RevisionDone(Side, u32, Ticket),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Micros,
    order: u64,
    ev: Ev,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A machine's boottime clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base_world: Micros,
    base_local: Micros,
    /// How many parts per million it runs too fast.
    pub(crate) ppm: i64,
}

impl Clock {
    pub(crate) fn new(world: Micros, local: Micros, ppm: i64) -> Self {
        Self { base_world: world, base_local: local, ppm }
    }

    pub(crate) fn local(&self, world: Micros) -> Micros {
        let passed = world.saturating_sub(self.base_world);
        self.base_local + skewed(passed, self.ppm)
    }

    fn world(&self, local: Micros) -> Micros {
        let ahead = local.saturating_sub(self.base_local);
        // The inverse, but for the square of the skew, which is added so as not to be early.
        let square = if self.ppm == 0 { 0 } else { ahead / 8000 };
        self.base_world + skewed(ahead, -self.ppm) + square
    }
}

/// A span that runs some parts per million too fast. Histories last minutes, so nothing overflows.
fn skewed(span: Micros, ppm: i64) -> Micros {
    if ppm == 0 {
        return span;
    }
    let extra = span / 1000 * ppm.unsigned_abs() / 1000;
    if ppm > 0 { span + extra } else { span.saturating_sub(extra) }
}

/// What a disk holds where the record should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Empty,
    Bytes(Vec<u8>),
}

/// How an armed crash meets an fsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    Before,
    After,
    Torn,
}

/// One machine.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // What a machine is like, one thing per field.
pub(crate) struct Machine {
    pub(crate) up: bool,
    /// Counts boots; events of former ones are recognised.
    pub(crate) life: u32,
    /// Standing still; whether its clock stands as well.
    pub(crate) paused: Option<bool>,
    paused_at: Micros,
    inbox: Vec<Ev>,
    pub(crate) core: Option<Failover>,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// The record as the disk has it, for judging.
    pub(crate) durable: Option<Record>,
    pub(crate) flight: Option<(Ticket, Record)>,
    pub(crate) strike: Option<(u64, Strike)>,
    pub(crate) storage_fails: bool,
    pub(crate) pg: Pg,
    pub(crate) pg_busy: Option<Ticket>,
    pub(crate) pg_failures: u64,
    pub(crate) gate: Option<Epoch>,
    pub(crate) permit: Option<Micros>,
    /// It asked for, or acted on, authority as a candidate.
    pub(crate) sought: bool,
    /// It heard from peer or witness in this life.
    pub(crate) met: bool,
    /// What its record said when it booted.
    pub(crate) booted_as: Option<Record>,
    pub(crate) lost_sync_at: Option<Micros>,
    pub(crate) stale_since: Option<Micros>,
    wake: Micros,
    pub(crate) slow: u64,
}

impl Machine {
    fn new() -> Self {
        Self {
            up: false,
            life: 0,
            paused: None,
            paused_at: 0,
            inbox: Vec::new(),
            core: None,
            clock: Clock::new(0, 0, 0),
            disk: Disk::Empty,
            durable: None,
            flight: None,
            strike: None,
            storage_fails: false,
            pg: Pg::new(Data::Missing),
            pg_busy: None,
            pg_failures: 0,
            gate: None,
            permit: None,
            sought: false,
            met: false,
            booted_as: None,
            lost_sync_at: None,
            stale_since: None,
            wake: Micros::MAX,
            slow: 1,
        }
    }

    /// Up, and not standing still.
    pub(crate) fn is_running(&self) -> bool {
        self.up && self.paused.is_none()
    }
}

/// What is wrong with the network now. Cuts are counted, for faults overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// From a side to its peer, on the first channel.
    pub(crate) cut: [u32; 2],
    /// The same on the second.
    pub(crate) second_cut: [u32; 2],
    pub(crate) witness_cut: [u32; 2],
    pub(crate) gateway_cut: [u32; 2],
    pub(crate) loss: u64,
    pub(crate) delay: Micros,
    pub(crate) duplicates: u64,
}

/// The whole site.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Micros,
    heap: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub(crate) rng: Rng,
    pub(crate) machines: [Machine; 2],
    pub(crate) net: Network,
    pub(crate) witness: Register,
    pub(crate) witness_up: bool,
    beats: Vec<Heartbeat>,
    free: Vec<u32>,
    pub(crate) serial: u32,
    pub(crate) judge: Judge,
    pub(crate) fence_fails: u32,
    pub(crate) healed: bool,
    pub(crate) events: u64,
    pub(crate) healed_after: Micros,
    actions: Vec<Action>,
    pub(crate) story: Option<Vec<String>>,
}

const CLIENT_EVERY: Micros = 60 * MS;
/// A poll loop wakes a little late.
const LATE: Micros = 100;
const PUMP_EVERY: Micros = 100 * MS;

impl World {
    pub(crate) fn new(plan: Plan, tell: bool) -> Self {
        let rng = Rng::new(plan.seed, 2);
        let mut world = Self {
            now: 0,
            heap: BinaryHeap::new(),
            order: 0,
            rng,
            machines: [Machine::new(), Machine::new()],
            net: Network::default(),
            witness: Register::empty(CLUSTER, 1),
            witness_up: true,
            beats: Vec::new(),
            free: Vec::new(),
            serial: 0,
            judge: Judge::default(),
            fence_fails: 0,
            healed: false,
            events: 0,
            healed_after: 0,
            actions: Vec::new(),
            story: tell.then(Vec::new),
            plan,
        };
        if world.plan.founded {
            world.found();
        }
        for side in Side::BOTH {
            let at = world.rng.below(300 * MS);
            world.at(at, Ev::Boot(side, 0));
        }
        for (place, fault) in world.plan.faults.clone().iter().enumerate() {
            world.at(fault.at, Ev::FaultBegins(place));
        }
        world.at(PUMP_EVERY, Ev::Pump);
        world.at(CLIENT_EVERY, Ev::Client);
        world
    }

    /// A pair that was in sync when both machines were switched off.
    fn found(&mut self) {
        let drawn = if self.rng.chance(50) { Side::A } else { Side::B };
        let leader = self.plan.leader.unwrap_or(drawn);
        let alone = Epoch::NONE.next_for(leader);
        let config = failover::Configuration {
            epoch: alone.next_for(leader),
            base: alone,
            leader,
            members: failover::Members::Both,
        };
        let first = failover::Configuration {
            epoch: alone,
            base: Epoch::NONE,
            leader,
            members: failover::Members::Leader,
        };
        self.judge.chosen(first);
        self.judge.chosen(config);
        self.serial = 1;
        for side in Side::BOTH {
            let record = Record {
                config,
                promised: config.epoch,
                voter: true,
                ..Record::blank(CLUSTER, side)
            };
            let machine = &mut self.machines[side.index()];
            machine.disk = Disk::Bytes(record.encode());
            machine.durable = Some(record);
            machine.pg = Pg::new(if side == leader { Data::Primary } else { Data::Standby });
            machine.pg.wal.push(1);
        }
        self.witness.config = Some(config);
    }

    pub(crate) fn tell(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let (ms, micros) = (self.now / MS, self.now % MS);
            let line = format!("{ms:>7}.{micros:03} ms  {}", text(self));
            if let Some(story) = &mut self.story {
                story.push(line);
            }
        }
    }

    pub(crate) fn at(&mut self, at: Micros, ev: Ev) {
        self.order += 1;
        self.heap.push(Reverse(Entry { at, order: self.order, ev }));
    }

    pub(crate) fn after(&mut self, delay: Micros, ev: Ev) {
        self.at(self.now + delay, ev);
    }

    pub(crate) fn machine(&self, side: Side) -> &Machine {
        &self.machines[side.index()]
    }

    pub(crate) fn machine_mut(&mut self, side: Side) -> &mut Machine {
        &mut self.machines[side.index()]
    }

    /// Whether something sent from a side reaches its peer.
    pub(crate) fn reaches(&self, from: Side, channel: u8) -> bool {
        match channel {
            0 => self.net.cut[from.index()] == 0,
            _ => self.plan.second_channel && self.net.second_cut[from.index()] == 0,
        }
    }

    /// Whether the peers can talk both ways, on any channel.
    pub(crate) fn connected(&self) -> bool {
        (0..2).any(|channel| Side::BOTH.iter().all(|side| self.reaches(*side, channel)))
    }

    /// Runs until a time, or until something is violated.
    pub(crate) fn run_until(&mut self, until: Micros) {
        while self.judge.violation.is_none() {
            let Some(Reverse(entry)) = self.heap.peek().copied() else { break };
            if entry.at > until {
                break;
            }
            self.heap.pop();
            self.now = self.now.max(entry.at);
            self.events += 1;
            self.happen(entry.ev);
        }
        self.now = self.now.max(until);
    }

    /// Whom an event befalls; what befalls a machine that stands still has to wait.
    fn addressee(ev: &Ev) -> Option<Side> {
        match ev {
            Ev::Wake(side)
            | Ev::Beat { to: side, .. }
            | Ev::Answer(side, _)
            | Ev::Persisted(side, ..)
            | Ev::PgDone(side, ..)
            | Ev::Wal { to: side, .. }
            | Ev::WalAck { to: side, .. }
            | Ev::FenceDone(side, ..)
            | Ev::RevisionDone(side, ..) => Some(*side),
            _ => None,
        }
    }

    fn happen(&mut self, ev: Ev) {
        if let Some(side) = Self::addressee(&ev) {
            let machine = self.machine_mut(side);
            if !machine.up {
                if let Ev::Beat { slot, .. } = ev {
                    self.free.push(slot);
                }
                return;
            }
            if machine.paused.is_some() {
                machine.inbox.push(ev);
                return;
            }
        }
        match ev {
            Ev::Wake(side) => {
                if self.machine(side).wake <= self.now {
                    self.deliver(side, &Event::Tick);
                }
            }
            Ev::Beat { to, slot, channel } => self.beat_arrives(to, slot, channel),
            Ev::Ask(ask) => self.ask_arrives(&ask),
            Ev::Answer(side, answer) => {
                self.machine_mut(side).met |= answer.config.is_some();
                self.deliver(side, &Event::Witness(answer));
            }
            Ev::Persisted(side, life, ticket) => self.persisted(side, life, ticket),
            Ev::PgDone(side, life, ticket, command) => self.pg_done(side, life, ticket, command),
            Ev::Wal { to, life, upto } => self.wal_arrives(to, life, upto),
            Ev::WalAck { to, life, upto } => self.ack_arrives(to, life, upto),
            Ev::Pump => {
                self.pump();
                self.after(PUMP_EVERY, Ev::Pump);
            }
            Ev::Client => {
                for side in Side::BOTH {
                    self.client(side);
                }
                let pause = self.rng.between(CLIENT_EVERY / 2, CLIENT_EVERY * 2);
                self.after(pause, Ev::Client);
            }
            Ev::FaultBegins(place) => self.fault_begins(place),
            Ev::FaultEnds(place) => self.fault_ends(place),
            Ev::Boot(side, life) => {
                if self.machine(side).life == life {
                    self.boot(side);
                }
            }
            Ev::Resume(side, life) => {
                if self.machine(side).life == life {
                    self.resume(side);
                }
            }
            Ev::FenceDone(side, life, ticket) => self.fence_done(side, life, ticket),
            Ev::RevisionDone(side, life, ticket) => {
                if self.machine(side).life == life {
                    let wal = std::mem::take(&mut self.machine_mut(side).pg.wal);
                    self.judge.revision_moved(&wal);
                    self.machine_mut(side).pg.wal = wal;
                    self.deliver(side, &Event::RevisionFenced(ticket));
                }
            }
        }
    }

    fn beat_arrives(&mut self, to: Side, slot: u32, channel: u8) {
        let heartbeat = self.beats[slot as usize];
        self.free.push(slot);
        let machine = self.machine_mut(to);
        let nonce = u64::from(machine.life) * 2 + to.index() as u64 + 1;
        machine.met |= heartbeat.echo_nonce == nonce;
        self.deliver(to, &Event::Heard(channel, heartbeat));
    }

    fn ask_arrives(&mut self, ask: &Ask) {
        if !self.witness_up {
            return;
        }
        let before = self.witness.config;
        let answer = self.witness.ask_by(ask, &self.plan.rules);
        if before != answer.config {
            let asked = *ask;
            self.tell(|_| {
                format!("witness: {before:?} -> {:?} for {:?}", answer.config, asked.from)
            });
        }
        if self.net.witness_cut[ask.from.index()] == 0 && !self.is_lost() {
            let delay = self.draw_delay();
            self.after(delay, Ev::Answer(ask.from, answer));
        }
    }

    pub(crate) fn is_lost(&mut self) -> bool {
        let percent = self.plan.loss.max(self.net.loss);
        percent > 0 && !self.healed && self.rng.chance(percent)
    }

    pub(crate) fn draw_delay(&mut self) -> Micros {
        let longest = if self.healed { 2 * MS } else { self.plan.delay.max(self.net.delay) };
        self.rng.between(100, longest)
    }

    pub(crate) fn send_beat(&mut self, from: Side, heartbeat: Heartbeat) {
        for channel in 0..=u8::from(self.plan.second_channel) {
            let percent =
                if self.healed { 0 } else { self.plan.duplicates.max(self.net.duplicates) };
            let copies = 1 + u64::from(percent > 0 && self.rng.chance(percent));
            for copy in 0..copies {
                if !self.reaches(from, channel) || self.is_lost() {
                    continue;
                }
                let late = copy * self.rng.between(0, 3000 * MS);
                let delay = self.draw_delay() + late;
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.beats.push(heartbeat);
                    u32::try_from(self.beats.len() - 1).unwrap_or(u32::MAX)
                });
                self.beats[slot as usize] = heartbeat;
                self.after(delay, Ev::Beat { to: from.peer(), slot, channel });
            }
        }
    }

    /// Steps a node's core, and does what it says.
    pub(crate) fn deliver(&mut self, side: Side, event: &Event) {
        let mut actions = std::mem::take(&mut self.actions);
        actions.clear();
        let now = self.now;
        let machine = self.machine_mut(side);
        let local = Duration::from_micros(machine.clock.local(now));
        if let Some(core) = &mut machine.core {
            core.step(local, event, &mut actions);
        }
        for action in &actions {
            self.act(side, action);
        }
        self.actions = actions;
        let machine = self.machine_mut(side);
        if let Some(core) = &machine.core {
            let local = Micros::try_from(core.wake_at().as_micros()).unwrap_or(Micros::MAX);
            let wake = machine.clock.world(local).max(now) + LATE;
            if wake < machine.wake || machine.wake <= now {
                machine.wake = wake;
                self.at(wake, Ev::Wake(side));
            }
        }
        self.judge_node(side);
    }

    pub(crate) fn boot(&mut self, side: Side) {
        let local = self.rng.between(1000 * MS, 5000 * MS);
        let now = self.now;
        let settings = self.plan.settings(side);
        let machine = self.machine_mut(side);
        if machine.up {
            return;
        }
        machine.up = true;
        machine.clock = Clock::new(now, local, machine.clock.ppm);
        machine.core = Some(Failover::new(settings));
        machine.met = false;
        machine.sought = false;
        machine.wake = Micros::MAX;
        let bytes = match &machine.disk {
            Disk::Empty => None,
            Disk::Bytes(bytes) => Some(bytes.as_slice()),
        };
        let recall = Record::recall(CLUSTER, side, bytes);
        machine.booted_as = match recall {
            failover::Recall::Found(record) => Some(record),
            _ => None,
        };
        machine.sought = machine
            .booted_as
            .is_some_and(|record| record.claim.is_some() && !record.config.led_by(side));
        let data = machine.pg.data;
        let nonce = u64::from(machine.life) * 2 + side.index() as u64 + 1;
        self.tell(|_| format!("{side:?}: boots with {recall:?}, data {data:?}"));
        self.deliver(side, &Event::Boot { recall, data, nonce });
    }

    /// Power is gone. A record that was being written is on disk, or isn't.
    pub(crate) fn crash(&mut self, side: Side) {
        let written = self.rng.chance(50);
        let machine = self.machine_mut(side);
        if !machine.up {
            return;
        }
        if let Some((_, record)) = machine.flight.take().filter(|_| written) {
            machine.disk = Disk::Bytes(record.encode());
            machine.durable = Some(record);
            self.judge.written(side, Some(record), self.now);
        }
        let machine = self.machine_mut(side);
        machine.up = false;
        machine.life += 1;
        machine.paused = None;
        machine.core = None;
        machine.inbox.clear();
        machine.gate = None;
        machine.permit = None;
        machine.pg.kill();
        machine.pg_busy = None;
        machine.strike = None;
        machine.lost_sync_at = None;
        self.tell(|_| format!("{side:?}: loses power"));
    }

    pub(crate) fn pause(&mut self, side: Side, frozen: bool) {
        let now = self.now;
        let machine = self.machine_mut(side);
        if machine.is_running() {
            machine.paused = Some(frozen);
            machine.paused_at = now;
            self.tell(|_| format!("{side:?}: stands still, clock frozen: {frozen}"));
        }
    }

    pub(crate) fn resume(&mut self, side: Side) {
        let now = self.now;
        let machine = self.machine_mut(side);
        let Some(frozen) = machine.paused.take() else { return };
        if frozen {
            let local = machine.clock.local(machine.paused_at);
            machine.clock = Clock::new(now, local, machine.clock.ppm);
        }
        machine.wake = now;
        let inbox = std::mem::take(&mut machine.inbox);
        self.tell(|_| format!("{side:?}: goes on"));
        for ev in inbox {
            self.at(now, ev);
        }
        self.at(now, Ev::Wake(side));
    }

    pub(crate) fn set_rate(&mut self, side: Side, ppm: i64) {
        let now = self.now;
        let machine = self.machine_mut(side);
        let local = machine.clock.local(now);
        machine.clock = Clock::new(now, local, ppm);
    }

    /// Looks after replication, and lets gateways answer.
    fn pump(&mut self) {
        for side in Side::BOTH {
            if !self.machine(side).is_running() {
                continue;
            }
            let asks_gateway = self.plan.arbiter.policy() == failover::Policy::Availability;
            if asks_gateway && self.net.gateway_cut[side.index()] == 0 {
                self.deliver(side, &Event::GatewayAnswered);
            }
            self.connect_standby(side);
            if self.machine(side).pg.role != Role::Stopped {
                let report = self.machine(side).pg.status(self.now);
                self.deliver(side, &Event::Postgres(report));
            }
        }
    }

    /// A standby that wants to stream looks for its primary.
    fn connect_standby(&mut self, side: Side) {
        let (standby, primary) = (self.machine(side), self.machine(side.peer()));
        if standby.pg.role != (Role::Standby { receiving: true }) {
            return;
        }
        let alive = primary.is_running() && primary.pg.is_primary() && self.connected();
        if !alive {
            return;
        }
        let life = primary.pg.life;
        if standby.pg.source == Some(life) {
            self.stream(side.peer());
        } else if primary.pg.continues(&standby.pg.wal) {
            self.machine_mut(side).pg.source = Some(life);
            self.stream(side.peer());
        } else {
            self.machine_mut(side).pg.source = None;
            self.deliver(side, &Event::Postgres(PgReport::CannotFollow));
        }
    }

    /// Sends what a standby doesn't have yet; also when that is nothing, as a sign of life.
    pub(crate) fn stream(&mut self, from: Side) {
        let primary = &self.machine(from).pg;
        let (life, upto) = (primary.life, primary.wal.len());
        let connected = self.machine(from.peer()).pg.source == Some(life);
        if connected && self.connected() {
            let delay = self.draw_delay();
            self.after(delay, Ev::Wal { to: from.peer(), life, upto });
        }
    }
}
