//! What follows from a state: gate, permit, PostgreSQL, fence, messages. What takes away comes
//! first in the list of actions.

use std::time::Duration;

use crate::event::Action;
use crate::failover::{Failover, Fence};
use crate::postgres::Desire;
use crate::settings::Arbiter;
use crate::state::State;
use crate::uncounted::Uncounted;
use crate::wire::{Flags, Heartbeat};
use crate::witness::Ask;
use crate::words::{Configuration, Members};

/// A witness that isn't needed is looked after this many retries, to notice that it forgot.
const IDLE_ASKS: u32 = 4;

impl Failover {
    pub(crate) fn serve(&mut self, out: &mut Vec<Action>) {
        let serving = self.may_serve();
        if self.gate && !serving {
            self.gate = false;
            out.push(Action::CloseGate);
        }
        if self.permit && !serving {
            self.permit = false;
            out.push(Action::WithdrawPermit);
        }
        let desire = self.desire();
        let fresh = self.sure().fresh;
        if let Some((ticket, command)) = self.pg.reach(self.now, desire, fresh) {
            if self.settings.rules.release_is_doubted {
                self.pg.doubt_waiting();
            }
            out.push(Action::Postgres(ticket, command));
        }
        if serving && !self.gate {
            self.gate = true;
            out.push(Action::OpenGate(self.sure().config.epoch));
        }
        self.move_revision(out);
        self.cut_power(out);
    }

    /// Clients may rely on this node now.
    pub(crate) fn may_serve(&self) -> bool {
        let times = &self.settings.times;
        let in_state = match self.state {
            State::PSync | State::PSolo => true,
            State::PBlocked => {
                let patience = times.loss.saturating_add(times.blocked_grace);
                let young = self.link.age(self.now).is_some_and(|age| age <= patience);
                let brief =
                    self.now.saturating_sub(self.entered) <= times.blocked_grace && self.grace;
                (young && brief && self.gate) || !self.settings.rules.blocked_closes_gate
            }
            _ => false,
        };
        in_state && self.leads() && self.pg.is_primary() && !self.sure().revision_fence
    }

    fn desire(&self) -> Desire {
        match self.state {
            State::Boot | State::Rendezvous | State::Fenced => Desire::Stopped,
            State::PSync | State::PBlocked => Desire::Primary { wait: true },
            State::PSolo => {
                let published = self.store.wanted.config.members == Members::Both;
                let wait = published && self.settings.rules.names_before_publish;
                Desire::Primary { wait: self.join.wait || wait }
            }
            State::HandOver if self.is_too_slow_to_end() => Desire::Stopped,
            State::HandOver => Desire::StoppedClean,
            State::SSync | State::SCatchUp | State::Candidate | State::SStale
                if !self.can_follow() =>
            {
                Desire::Stopped
            }
            State::SSync | State::SCatchUp => Desire::Standby { receive: true },
            State::Candidate | State::SStale => {
                Desire::Standby { receive: !self.settings.rules.withdraw_before_authority }
            }
            State::Promoting => Desire::Primary { wait: false },
            State::Rewind | State::Reclone if !self.may_replace_data() => Desire::Stopped,
            State::Rewind => Desire::Rewound,
            State::Reclone => Desire::Cloned,
        }
    }

    /// The checkpoint of a clean end may take longer than clients can wait, and can't be called back.
    /// The peer has every acknowledged commit, so the checkpoint spares this node a repair, no more.
    fn is_too_slow_to_end(&self) -> bool {
        let half = self.settings.times.handover_bound / 2;
        self.now.saturating_sub(self.entered) > half
    }

    /// The peer leads, nobody counts on this node's data, and should the repair be interrupted, the
    /// record says so.
    fn may_replace_data(&self) -> bool {
        let rules = &self.settings.rules;
        let noted =
            self.state == State::Reclone || self.sure().half_rewound || !rules.rewind_is_noted;
        let peer = self.me().peer();
        let led = self.sure().config.led_by(peer) && self.store.wanted.config.led_by(peer);
        self.pg.repaired.is_none() && noted && led && !self.is_counted_on()
    }

    fn move_revision(&mut self, out: &mut Vec<Action>) {
        let due = self.sure().revision_fence
            && self.store.wanted.revision_fence
            && self.state == State::PSolo
            && self.leads()
            && self.pg.is_primary();
        if !due {
            self.revision = None;
        } else if self.revision.is_none() {
            let ticket = self.revision_tickets.next();
            self.revision = Some(Uncounted(ticket));
            out.push(Action::FenceRevision(ticket));
        }
    }

    /// Fences a peer that is gone, once what this node must give up is given up.
    fn cut_power(&mut self, out: &mut Vec<Action>) {
        if self.settings.arbiter != Arbiter::Fence {
            return;
        }
        let leader = self.state == State::PBlocked && self.pg.is_primary();
        let standby = self.state == State::Candidate && self.has_withdrawn_acks();
        let claimed = self.sure().claim.is_some() && self.sure().claim == self.store.wanted.claim;
        if self.peer().is_some() || !(leader || standby) {
            self.forget_fence(out);
            return;
        }
        // The peer spoke after the cut began, and fell silent again: nobody knows why.
        if let Fence::Confirmed(since) = self.fence
            && self.link.contact().is_some_and(|contact| contact >= since)
        {
            self.fence = Fence::Idle(Duration::ZERO);
        }
        // The leader goes first, so that two healthy nodes don't switch each other off.
        let waited = leader || self.now.saturating_sub(self.entered) >= self.settings.times.loss;
        if let Fence::Idle(due) = self.fence
            && due <= self.now
            && claimed
            && waited
            && self.peer_was_here()
            && !self.in_maintenance()
        {
            self.start_fence(out);
        }
    }

    /// Heartbeats, permits and questions to the witness: at every interval, and at once when there
    /// is news.
    pub(crate) fn talk(&mut self, out: &mut Vec<Action>) {
        let telling = (*self.sure(), self.state, self.flags(), self.shown_claim().is_some());
        let news = self.told != Some(telling);
        let due = self.now >= self.beat_due;
        let opened = self.gate && !self.permit;
        if self.gate && self.state != State::PBlocked && (due || opened) {
            self.permit = true;
            let until = self.now.saturating_add(self.settings.times.permit);
            out.push(Action::Permit(self.sure().config.epoch, until));
        }
        if due || news {
            self.beat_due = self.now.saturating_add(self.settings.times.heartbeat);
            self.told = Some(telling);
            if !self.store.failed {
                let heartbeat = self.heartbeat();
                out.push(Action::Send(heartbeat));
            }
        }
        self.ask_witness(news, out);
    }

    /// What the peer is told at once when it changes, beside the record and the state.
    fn flags(&self) -> Flags {
        let sure = self.sure();
        let stopped = self.state == State::HandOver && self.pg.is_stopped() && !self.gate;
        Flags {
            voter: sure.voter,
            fit: self.is_fit(),
            blank: self.is_blank(),
            offer: stopped || self.offers_hopelessly(),
            maintenance: sure.maintenance,
            trouble: self.trouble,
        }
    }

    fn heartbeat(&mut self) -> Heartbeat {
        let sure = *self.sure();
        let flags = self.flags();
        let mut heartbeat = Heartbeat {
            cluster: self.settings.cluster,
            from: self.me(),
            nonce: 0,
            seq: 0,
            echo_nonce: 0,
            echo_seq: 0,
            hears: 0,
            state: self.state,
            config: sure.config,
            claim: self.shown_claim(),
            promised: sure.promised,
            flags,
            timeline: self.pg.timeline,
            lsn: self.pg.lsn,
        };
        self.link.stamp(self.now, self.settings.times.loss, &mut heartbeat);
        heartbeat
    }

    /// A candidate shows its claim only when it has nothing left to give up, and a leader only while it
    /// could serve: the peer must not agree to one whose PostgreSQL is gone, for it could lead itself.
    fn shown_claim(&self) -> Option<Configuration> {
        let shows = if self.state == State::Candidate {
            self.has_withdrawn_acks()
        } else {
            self.pg.is_primary() || !self.sure().config.led_by(self.me())
        };
        self.sure().claim.filter(|_| shows)
    }

    /// A leader by its record whose data is gone would rather have the peer lead.
    fn offers_hopelessly(&self) -> bool {
        let sure = self.sure();
        let lost = sure.voter && sure.config.led_by(self.me()) && !self.is_fit();
        lost && !self.state.is_leading() && sure.config.members == Members::Both
    }

    fn ask_witness(&mut self, news: bool, out: &mut Vec<Action>) {
        if self.settings.arbiter != Arbiter::Witness || self.store.failed {
            return;
        }
        let times = &self.settings.times;
        let claim = self.sure().claim.filter(|_| self.may_ask());
        let pause = match self.state {
            State::Rendezvous | State::PBlocked | State::Candidate => times.heartbeat,
            _ => times.retry.saturating_mul(IDLE_ASKS),
        };
        let waited = self.asked.is_none_or(|at| self.now.saturating_sub(at) >= pause);
        if !(waited || (news && claim.is_some())) {
            return;
        }
        self.asked = Some(self.now);
        out.push(Action::Ask(Ask {
            cluster: self.settings.cluster,
            from: self.me(),
            nonce: self.nonce.0,
            claim,
            enroll: self.enrolment(),
        }));
    }

    /// A claim may go to the witness: not too early, not in maintenance, and with nothing left to
    /// give up.
    fn may_ask(&self) -> bool {
        let current = self.sure().claim == self.store.wanted.claim;
        let in_state = match self.state {
            State::PBlocked => self.pg.is_primary(),
            State::Candidate => {
                let waited = self.now.saturating_sub(self.entered);
                self.has_withdrawn_acks() && waited >= self.settings.times.precedence
            }
            _ => false,
        };
        current && in_state && !self.in_maintenance()
    }

    /// What an empty witness is told, by a leader whose peer claims nothing and agrees.
    fn enrolment(&self) -> Option<(u64, Configuration)> {
        let answer = self.answer.filter(|answer| answer.config.is_none())?;
        let quiet =
            self.state == State::PSync && self.peer_can_lead() && self.store.wanted.claim.is_none();
        quiet.then_some((answer.incarnation, self.sure().config))
    }

    /// When the core wants to be stepped next, if nothing happens before.
    pub fn wake_at(&self) -> Duration {
        let times = &self.settings.times;
        let lost = self.link.contact().map(|contact| contact.saturating_add(times.loss));
        let entered = [
            (self.state == State::Candidate)
                .then_some(self.entered.saturating_add(times.precedence)),
            (self.state == State::PBlocked)
                .then_some(self.entered.saturating_add(times.blocked_grace)),
        ];
        let instant = Duration::from_millis(1);
        [lost]
            .into_iter()
            .chain(entered)
            .flatten()
            .map(|at| at.saturating_add(instant))
            .filter(|at| *at > self.now)
            .fold(self.beat_due, Duration::min)
    }
}
