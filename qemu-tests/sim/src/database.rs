//! The two databases in the world: commands carried out, WAL on its way, clients at the gates.

use failover::{Data, Event, PgCommand, PgReport, Side, Ticket, Timeline};

use crate::event::Ev;
use crate::pg::{Pg, Role};
use crate::plan::{MS, Micros, SECOND};
use crate::world::World;

/// A checkpointer that is busy reads no changed names for so long, or longer.
const NAMES_LATEST: Micros = 5 * SECOND;

impl World {
    pub(crate) fn command(&mut self, side: Side, ticket: Ticket, command: PgCommand) {
        self.tell(|_| format!("{side:?}: PostgreSQL shall {command:?}"));
        self.judge_command(side, command);
        let (low, high) = match command {
            PgCommand::InitDb => (300, 800),
            PgCommand::StartPrimary { .. } => (50, 400),
            PgCommand::StartStandby { .. } => (50, 300),
            PgCommand::StopReceiver | PgCommand::Stop => (1, 30),
            PgCommand::Promote => (80, 200),
            PgCommand::RequirePeer | PgCommand::ReleasePeer => (1, 10),
            PgCommand::StopClean => (50, 200),
            PgCommand::Rewind => (200, 800),
            PgCommand::Reclone => (400, 1500),
        };
        let mut delay = self.rng.between(low * MS, high * MS) * self.machine(side).slow;
        let names = matches!(command, PgCommand::RequirePeer | PgCommand::ReleasePeer);
        let heeds = (names && self.machine(side).late_names).then(|| {
            delay += self.rng.below(NAMES_LATEST);
            self.rng.below(delay)
        });
        let machine = self.machine_mut(side);
        machine.pg_busy = Some(ticket);
        match command {
            PgCommand::Stop => machine.pg.kill(),
            PgCommand::Rewind => machine.pg.half_rewound = true,
            _ => {}
        }
        let life = machine.life;
        if let Some(heeds) = heeds {
            self.after(heeds, Ev::PgHeeds(side, life, ticket, command));
        }
        self.after(delay, Ev::PgDone(side, life, ticket, command));
    }

    /// A command has its effect, unless another one has overtaken it; its keeper doesn't know yet.
    pub(crate) fn pg_heeds(&mut self, side: Side, life: u32, ticket: Ticket, command: PgCommand) {
        let machine = self.machine(side);
        if machine.life == life && machine.pg_busy == Some(ticket) && machine.pg.is_primary() {
            self.tell(|_| format!("{side:?}: PostgreSQL heeds {command:?}"));
            self.carry_out(side, command);
        }
    }

    pub(crate) fn pg_done(&mut self, side: Side, life: u32, ticket: Ticket, command: PgCommand) {
        let machine = self.machine_mut(side);
        if machine.life != life || machine.pg_busy.take_if(|busy| *busy == ticket).is_none() {
            return;
        }
        let fails = machine.pg_failures > 0 && command != PgCommand::Stop;
        if fails {
            machine.pg_failures -= 1;
        }
        let sound = matches!(command, PgCommand::Stop | PgCommand::StopClean | PgCommand::Reclone)
            || !machine.pg.damaged;
        let done = sound && !fails && self.carry_out(side, command);
        let pg = &mut self.machine_mut(side).pg;
        let report = if done {
            PgReport::Done(ticket, Timeline(pg.timeline), pg.lsn())
        } else {
            pg.kill();
            PgReport::Failed(ticket)
        };
        self.tell(|_| format!("{side:?}: PostgreSQL: {command:?} done: {done}"));
        self.deliver(side, &Event::Postgres(report));
    }

    fn carry_out(&mut self, side: Side, command: PgCommand) -> bool {
        match command {
            PgCommand::Rewind | PgCommand::Reclone => return self.repair(side, command),
            PgCommand::StopClean => self.send_the_rest(side),
            PgCommand::ReleasePeer => self.release_all(side),
            _ => {}
        }
        self.serial += 1;
        let serial = self.serial;
        let pg = &mut self.machine_mut(side).pg;
        match command {
            PgCommand::InitDb => {
                *pg = Pg { life: pg.life, ..Pg::new(Data::Primary) };
                pg.wal.push(serial);
            }
            PgCommand::StartPrimary { wait } => {
                pg.kill();
                pg.role = Role::Primary { waiting: wait };
                pg.data = Data::Primary;
                // Crash recovery ends with a record of its own; everything before is visible.
                pg.wal.push(serial);
                pg.visible = pg.wal.len();
            }
            PgCommand::StartStandby { receive } => {
                if pg.role == Role::Stopped {
                    pg.kill();
                }
                pg.role = Role::Standby { receiving: receive };
                pg.data = Data::Standby;
            }
            PgCommand::StopReceiver => {
                pg.role = Role::Standby { receiving: false };
                pg.source = None;
            }
            PgCommand::Promote => {
                if !matches!(pg.role, Role::Standby { .. }) {
                    return false;
                }
                pg.kill();
                pg.timeline += 1;
                pg.wal.push(serial);
                pg.visible = pg.wal.len();
                pg.role = Role::Primary { waiting: false };
                pg.data = Data::Primary;
            }
            PgCommand::RequirePeer => pg.role = Role::Primary { waiting: true },
            PgCommand::ReleasePeer => pg.role = Role::Primary { waiting: false },
            PgCommand::Stop | PgCommand::StopClean => pg.kill(),
            PgCommand::Rewind | PgCommand::Reclone => {}
        }
        true
    }

    fn repair(&mut self, side: Side, command: PgCommand) -> bool {
        let peer = self.machine(side.peer());
        if !(peer.is_running() && peer.pg.is_primary() && self.connected()) {
            return false;
        }
        let (wal, timeline) = (peer.pg.wal.clone(), peer.pg.timeline);
        let pg = &mut self.machine_mut(side).pg;
        pg.kill();
        if command == PgCommand::Rewind {
            pg.rewind_to(&wal);
        } else {
            pg.wal = wal;
            pg.damaged = false;
        }
        pg.half_rewound = false;
        pg.timeline = timeline;
        pg.data = Data::Standby;
        true
    }

    /// A clean stop sends all WAL to a standby that streams.
    fn send_the_rest(&mut self, side: Side) {
        let primary = self.machine(side);
        let standby = self.machine(side.peer());
        let streams = standby.is_running()
            && standby.pg.source == Some(primary.pg.life)
            && standby.pg.role == (Role::Standby { receiving: true })
            && self.connected();
        if streams && primary.pg.continues(&standby.pg.wal) {
            let wal = primary.pg.wal.clone();
            self.machine_mut(side.peer()).pg.wal = wal;
        }
    }

    /// Nobody waits any more: whoever waited is told "done".
    fn release_all(&mut self, side: Side) {
        let waiting = std::mem::take(&mut self.machine_mut(side).pg.waiting);
        for place in waiting {
            self.acknowledge(side, place);
        }
        let pg = &mut self.machine_mut(side).pg;
        pg.visible = pg.wal.len();
    }

    pub(crate) fn wal_arrives(&mut self, to: Side, life: u32, upto: usize) {
        let from = to.peer();
        let standby = &self.machine(to).pg;
        let wanted =
            standby.source == Some(life) && standby.role == (Role::Standby { receiving: true });
        let primary = &self.machine(from).pg;
        if !wanted || primary.wal.len() < upto || !primary.continues(&standby.wal) {
            return;
        }
        let have = standby.wal.len();
        if upto > have {
            let news: Vec<u32> = primary.wal[have..upto].to_vec();
            let timeline = primary.timeline;
            let standby = &mut self.machine_mut(to).pg;
            standby.wal.extend(news);
            standby.timeline = timeline;
        }
        if self.machine(to).sought {
            self.judge.violate("I2", self.now, || {
                format!("{to:?} acknowledges WAL although it seeks authority")
            });
        }
        if self.connected() {
            let delay = self.draw_delay();
            self.after(delay, Ev::WalAck { to: from, life, upto: upto.max(have) });
        }
    }

    pub(crate) fn ack_arrives(&mut self, to: Side, life: u32, upto: usize) {
        let now = self.now;
        let pg = &mut self.machine_mut(to).pg;
        if pg.life != life || !pg.is_primary() {
            return;
        }
        pg.peer_flush = pg.peer_flush.max(upto);
        pg.peer_seen = Some(now);
        if pg.waits() {
            let flushed = pg.peer_flush;
            pg.visible = pg.visible.max(flushed);
            let done: Vec<usize> =
                pg.waiting.iter().copied().filter(|place| *place < flushed).collect();
            pg.waiting.retain(|place| *place >= flushed);
            for place in done {
                self.acknowledge(to, place);
            }
        }
    }

    /// A client on either side of any cut writes and reads wherever a gate is open.
    pub(crate) fn client(&mut self, side: Side) {
        let machine = self.machine(side);
        if !(machine.is_running() && machine.gate.is_some() && machine.pg.is_primary()) {
            return;
        }
        let epoch = machine.durable.map(|record| record.config.epoch).unwrap_or_default();
        self.judge.split_by_operator |= self.judge.forced && epoch < self.judge.newest();
        self.serial += 1;
        let serial = self.serial;
        let pg = &mut self.machine_mut(side).pg;
        pg.wal.push(serial);
        let place = pg.wal.len() - 1;
        if pg.waits() {
            pg.waiting.push(place);
        } else {
            pg.visible = pg.wal.len();
            self.acknowledge(side, place);
        }
        self.stream(side);
        let machine = &self.machines[side.index()];
        self.judge.reads(&machine.pg.wal, machine.pg.visible);
    }

    /// Cancelled waits end with success, as PostgreSQL has it.
    pub(crate) fn cancel(&mut self, side: Side) {
        if self.plan.swallow_cancels || self.machine(side).gate.is_none() {
            return;
        }
        if let Some(place) = self.machine_mut(side).pg.waiting.pop() {
            self.acknowledge(side, place);
        }
    }

    fn acknowledge(&mut self, side: Side, place: usize) {
        if self.machine(side).gate.is_none() {
            return; // The session is gone; its client knows nothing.
        }
        let serial = self.machine(side).pg.wal[place];
        self.judge.acknowledged(place, serial, self.now);
        self.judge_ack(side, place);
    }

    /// A standby that wants to stream looks for its primary.
    pub(crate) fn connect_standby(&mut self, side: Side) {
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
