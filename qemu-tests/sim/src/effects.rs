//! What the shell would do: actions of a core, carried out on the simulated machine.

use failover::{
    Action, Data, Event, Members, Notice, PgCommand, PgReport, Record, Side, Source, Ticket,
    Timeline,
};

use crate::pg::{Pg, Role};
use crate::plan::{MS, Micros, SECOND};
use crate::world::{Disk, Ev, Strike, World};

impl World {
    pub(crate) fn act(&mut self, side: Side, action: &Action) {
        if !self.machine(side).up {
            return; // The power went in the middle of the list.
        }
        match *action {
            Action::Persist(ticket, record) => self.persist(side, ticket, record),
            Action::Send(heartbeat) => {
                self.judge_heartbeat(side, &heartbeat);
                self.send_beat(side, heartbeat);
            }
            Action::Ask(ask) => {
                if ask.claim.is_some() {
                    self.seeks(side);
                }
                if self.net.witness_cut[side.index()] == 0 && !self.is_lost() {
                    let delay = self.draw_delay();
                    self.after(delay, Ev::Ask(ask));
                }
            }
            Action::OpenGate(epoch) => {
                self.machine_mut(side).gate = Some(epoch);
                self.tell(|_| format!("{side:?}: gate opens in {epoch:?}"));
                self.judge_leader(side);
            }
            Action::CloseGate => {
                let machine = self.machine_mut(side);
                machine.gate = None;
                machine.pg.waiting.clear();
                self.tell(|_| format!("{side:?}: gate closes"));
            }
            Action::Permit(epoch, until) => {
                self.judge_permit(side, epoch);
                let until = Micros::try_from(until.as_micros()).unwrap_or(Micros::MAX);
                self.machine_mut(side).permit = Some(until);
            }
            Action::WithdrawPermit => self.machine_mut(side).permit = None,
            Action::Postgres(ticket, command) => self.command(side, ticket, command),
            Action::Fence(ticket) => {
                self.seeks(side);
                let delay = self.rng.between(300, 1500) * MS;
                let life = self.machine(side).life;
                self.after(delay, Ev::FenceDone(side, life, ticket));
            }
            Action::FenceRevision(ticket) => {
                let delay = self.rng.between(50, 500) * MS;
                let life = self.machine(side).life;
                self.after(delay, Ev::RevisionDone(side, life, ticket));
            }
            Action::Moved { from, to, because } => {
                self.judge.moves[from as usize][because as usize] += 1;
                self.tell(|_| format!("{side:?}: {from:?} --{because:?}--> {to:?}"));
                self.judge_move(side, from, to);
            }
            Action::Report(notice) => self.notice(side, notice),
            Action::Reply(reply) => {
                self.tell(|_| format!("{side:?}: answers the operator: {reply:?}"));
            }
        }
    }

    /// From here on a candidate may not acknowledge anything.
    fn seeks(&mut self, side: Side) {
        let standby = !self.machine(side).durable.is_some_and(|record| record.config.led_by(side));
        self.machine_mut(side).sought |= standby;
    }

    fn notice(&mut self, side: Side, notice: Notice) {
        self.tell(|_| format!("{side:?}: {notice:?}"));
        match notice {
            Notice::Authority(config, source) => {
                self.judge.sources[source as usize] += 1;
                if config.members == Members::Leader && source != Source::Operator {
                    self.seeks(side);
                }
                match source {
                    Source::Policy => self.judge.policy_lies |= self.policy_lies(side),
                    Source::Operator => self.judge.forced = true,
                    _ => {}
                }
            }
            Notice::Diverged(..) => self.judge.diverged += 1,
            _ => {}
        }
    }

    /// Whether a node that acts by the policy `availability` was deceived: its peer works, reaches
    /// its gateway, and only the peers can't hear each other; or the peer stands still without its
    /// clock noticing, and will go on as if nothing had been.
    fn policy_lies(&self, side: Side) -> bool {
        let peer = self.machine(side.peer());
        let gateway = self.net.gateway_cut[side.peer().index()] == 0;
        self.plan.arbiter.policy() == failover::Policy::Availability
            && peer.up
            && match peer.paused {
                None => gateway,
                Some(frozen) => frozen,
            }
    }

    fn persist(&mut self, side: Side, ticket: Ticket, record: Record) {
        let delay = self.rng.between(500, 5 * MS) * self.machine(side).slow;
        self.judge.syncs += 1;
        let machine = self.machine_mut(side);
        if machine.storage_fails {
            self.deliver_later(side, ticket);
            return;
        }
        machine.flight = Some((ticket, record));
        let life = machine.life;
        if let Some((left, strike)) = machine.strike {
            if left > 0 {
                machine.strike = Some((left - 1, strike));
            } else {
                machine.flight = None;
                match strike {
                    Strike::Before => {}
                    Strike::After => {
                        machine.disk = Disk::Bytes(record.encode());
                        machine.durable = Some(record);
                        self.judge.written(side, Some(record), self.now);
                    }
                    Strike::Torn => {
                        let mut bytes = record.encode();
                        let cut = bytes.len() / 2;
                        bytes[cut..].fill(0);
                        machine.disk = Disk::Bytes(bytes);
                        machine.durable = None;
                        self.judge.memory_lost = true;
                        self.judge.written(side, None, self.now);
                    }
                }
                self.tell(|_| format!("{side:?}: power fails at an fsync: {strike:?}"));
                self.crash(side);
                let life = self.machine(side).life;
                let delay = self.rng.between(200, 4000) * MS;
                self.after(delay, Ev::Boot(side, life));
                return;
            }
        }
        self.after(delay, Ev::Persisted(side, life, ticket));
    }

    fn deliver_later(&mut self, side: Side, ticket: Ticket) {
        // A failed write is told by an event that never says "durable": the flight stays empty.
        let life = self.machine(side).life;
        self.machine_mut(side).flight = None;
        self.after(2 * MS, Ev::Persisted(side, life, ticket));
    }

    pub(crate) fn persisted(&mut self, side: Side, life: u32, ticket: Ticket) {
        let machine = self.machine_mut(side);
        if machine.life != life {
            return;
        }
        match machine.flight.take_if(|(asked, _)| *asked == ticket) {
            Some((_, record)) => {
                machine.disk = Disk::Bytes(record.encode());
                machine.durable = Some(record);
                self.judge.written(side, Some(record), self.now);
                self.tell(|_| {
                    let (config, claim) = (record.config, record.claim);
                    format!("{side:?}: wrote {config:?} claim {claim:?}")
                });
                if record.config.led_by(side.peer()) && record.claim.is_none() {
                    self.machine_mut(side).sought = false;
                }
                self.deliver(side, &Event::Persisted(ticket));
            }
            None => self.deliver(side, &Event::PersistFailed(ticket)),
        }
    }

    fn command(&mut self, side: Side, ticket: Ticket, command: PgCommand) {
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
        let delay = self.rng.between(low * MS, high * MS) * self.machine(side).slow;
        let machine = self.machine_mut(side);
        machine.pg_busy = Some(ticket);
        match command {
            PgCommand::Stop => machine.pg.kill(),
            PgCommand::Rewind => machine.pg.half_rewound = true,
            _ => {}
        }
        let life = machine.life;
        self.after(delay, Ev::PgDone(side, life, ticket, command));
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
        let done = !fails && self.carry_out(side, command);
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

    pub(crate) fn fence_done(&mut self, side: Side, life: u32, ticket: Ticket) {
        if self.machine(side).life != life {
            return;
        }
        let off = self.fence_fails == 0;
        if off {
            self.tell(|_| format!("{side:?}: fences its peer"));
            self.crash(side.peer());
            let life = self.machine(side.peer()).life;
            let delay = self.rng.between(2, 6) * SECOND;
            self.after(delay, Ev::Boot(side.peer(), life));
        }
        self.deliver(side, &Event::Fenced(ticket, off));
    }
}
