//! The simulated site: two machines, perhaps a witness, the network between them, and time.
//!
//! One heap of events, one clock of the world, and a clock per machine that may run at another rate,
//! stop, or jump. Everything random comes from the plan's seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use failover::{Action, Ask, Data, Epoch, Event, Failover, Heartbeat, Record, Register, Side};

use crate::clock::Clock;
use crate::event::{Entry, Ev};
use crate::judge::Judge;
use crate::machine::{Disk, Machine, Network};
use crate::pg::{Pg, Role};
use crate::plan::{CLUSTER, MS, Micros, Plan};
use crate::rng::Rng;

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
/// One in so many heartbeats is encoded and decoded.
const SAMPLE: u64 = 16;
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
            | Ev::PgHeeds(side, ..)
            | Ev::PgDone(side, ..)
            | Ev::Wal { to: side, .. }
            | Ev::WalAck { to: side, .. }
            | Ev::FenceStrikes(side, ..)
            | Ev::FenceTold(side, ..)
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
            Ev::PgHeeds(side, life, ticket, command) => {
                self.pg_heeds(side, life, ticket, command);
            }
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
            Ev::FenceStrikes(side, life, ticket) => self.fence_strikes(side, life, ticket),
            Ev::FenceTold(side, life, ticket, off) => self.fence_told(side, life, ticket, off),
            Ev::RevisionDone(side, life, ticket) => {
                if self.machine(side).life == life {
                    let wal = std::mem::take(&mut self.machine_mut(side).pg.wal);
                    self.judge.revision_moved(&wal);
                    self.tell(|_| format!("{side:?}: kine's revision is moved"));
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
        machine.met |= heartbeat.echo_nonce == machine.nonce;
        (machine.claimed, machine.was_cut_off) = (false, false);
        self.deliver(to, &Event::Heard(channel, heartbeat));
    }

    fn ask_arrives(&mut self, ask: &Ask) {
        if !self.witness_up {
            return;
        }
        if Ask::decode(&ask.encode()) != Some(*ask) {
            self.judge.violate("wire", self.now, || format!("{ask:?}"));
        }
        let before = self.witness.config;
        let answer = self.witness.ask_by(ask, &self.plan.rules);
        if before != answer.config {
            let asked = *ask;
            self.tell(|_| {
                let now = answer.config.map_or(String::new(), |config| config.to_string());
                format!("witness: asked by {:?}, stores {now}", asked.from)
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
        // What a node says must survive the wire; looking at some is enough.
        let survives = || Heartbeat::decode(&heartbeat.encode()) == Ok(heartbeat);
        if heartbeat.seq.is_multiple_of(SAMPLE) && !survives() {
            self.judge.violate("wire", self.now, || format!("{from:?} says {heartbeat:?}"));
        }
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
        let nonce = self.rng.next() | 1;
        let machine = self.machine_mut(side);
        if machine.up {
            return;
        }
        machine.nonce = nonce;
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
        let nonce = machine.nonce;
        self.tell(|_| match recall {
            failover::Recall::Found(record) => {
                let wish = record.claim.map_or(String::new(), |claim| format!("; claims {claim}"));
                format!("{side:?}: boots, remembers {}{wish}; data {data:?}", record.config)
            }
            _ => format!("{side:?}: boots, record {recall:?}; data {data:?}"),
        });
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
        (machine.claimed, machine.was_cut_off) = (false, false);
        machine.pg.kill();
        machine.pg_busy = None;
        machine.fencing = None;
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

    /// Whether the peer adverts the address now, and this node hears it.
    fn hears_advert(&mut self, side: Side) -> bool {
        let peer = self.machine(side.peer());
        let local = peer.clock.local(self.now);
        let adverts = peer.is_running() && peer.permit.is_some_and(|until| until > local);
        adverts && self.net.advert_cut[side.peer().index()] == 0 && !self.is_lost()
    }

    /// Looks after replication and adverts, and lets gateways answer.
    fn pump(&mut self) {
        for side in Side::BOTH {
            if !self.machine(side).is_running() {
                continue;
            }
            let asks_gateway = self.plan.arbiter.policy() == failover::Policy::Availability;
            if self.net.gateway_cut[side.index()] > 0 {
                self.machine_mut(side).was_cut_off = true;
            } else if asks_gateway {
                self.deliver(side, &Event::GatewayAnswered);
            }
            if self.hears_advert(side) {
                self.machine_mut(side).claimed = true;
                self.deliver(side, &Event::ForeignVip);
            }
            self.connect_standby(side);
            if self.machine(side).pg.role != Role::Stopped {
                let report = self.machine(side).pg.status(self.now);
                self.deliver(side, &Event::Postgres(report));
            }
        }
    }
}
