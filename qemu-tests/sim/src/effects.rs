//! What the shell would do: actions of a core, carried out on the simulated machine.

use failover::{Action, Event, Members, Notice, Record, Side, Source, Ticket};

use crate::event::Ev;
use crate::machine::{Disk, Strike};
use crate::plan::{MS, Micros, SECOND};
use crate::world::World;

fn in_words(notice: Notice) -> String {
    match notice {
        Notice::Authority(config, source) => format!("has authority ({source:?}) for {config}"),
        Notice::Diverged(old, new) => format!("diverged: {old} gives way to {new}"),
        Notice::WitnessKnowsNewer(config) => format!("the witness knows of {config}"),
        Notice::StorageFailed => "can't write its record".to_owned(),
    }
}

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
                let delay = self.rng.between(300 * MS, self.plan.fence_longest);
                let machine = self.machine_mut(side);
                machine.fencing = Some(ticket);
                let life = machine.life;
                self.after(delay, Ev::FenceStrikes(side, life, ticket));
            }
            Action::CallOffFence(ticket) => {
                self.machine_mut(side).fencing.take_if(|running| *running == ticket);
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
        self.tell(|_| format!("{side:?}: {}", in_words(notice)));
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
    /// its gateway, and only the peers can't hear each other; or the peer stands still with its
    /// clock, and will go on as if nothing had been; or it leads already, and was only never heard by
    /// a node that has reached its own gateway all the time.
    ///
    /// A primary that heard somebody else advert the address wasn't deceived, and a standby whose
    /// adverts reach the primary does no harm by acting first.
    fn policy_lies(&self, side: Side) -> bool {
        if self.plan.arbiter.policy() != failover::Policy::Availability {
            return false;
        }
        let leads = |side: Side| {
            self.machine(side).durable.is_some_and(|record| record.config.led_by(side))
        };
        let peer = self.machine(side.peer());
        let works = peer.is_running() && self.net.gateway_cut[side.peer().index()] == 0;
        let unheard = if leads(side) {
            let own = self.machine(side);
            let led = leads(side.peer()) && !own.was_cut_off;
            !own.claimed && (works || led)
        } else {
            works && self.net.advert_cut[side.index()] > 0
        };
        unheard || (peer.up && peer.paused == Some(true))
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
                    let wish =
                        record.claim.map_or(String::new(), |claim| format!("; claims {claim}"));
                    format!("{side:?}: wrote {}{wish}", record.config)
                });
                if record.config.led_by(side.peer()) && record.claim.is_none() {
                    self.machine_mut(side).sought = false;
                }
                self.deliver(side, &Event::Persisted(ticket));
            }
            None => self.deliver(side, &Event::PersistFailed(ticket)),
        }
    }

    pub(crate) fn fence_strikes(&mut self, side: Side, life: u32, ticket: Ticket) {
        if !self.fences(side, life, ticket) {
            return;
        }
        let off = self.fence_fails == 0;
        if off {
            self.tell(|_| format!("{side:?}: fences its peer"));
            self.judge_fence(side);
            self.crash(side.peer());
            let life = self.machine(side.peer()).life;
            let delay = self.rng.between(2, 6) * SECOND;
            self.after(delay, Ev::Boot(side.peer(), life));
        }
        let delay = self.rng.between(0, 300) * MS;
        self.after(delay, Ev::FenceTold(side, life, ticket, off));
    }

    pub(crate) fn fence_told(&mut self, side: Side, life: u32, ticket: Ticket, off: bool) {
        if self.fences(side, life, ticket) {
            self.machine_mut(side).fencing = None;
            self.deliver(side, &Event::Fenced(ticket, off));
        }
    }

    fn fences(&self, side: Side, life: u32, ticket: Ticket) -> bool {
        let machine = self.machine(side);
        machine.life == life && machine.fencing == Some(ticket)
    }
}
