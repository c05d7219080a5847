//! One node's part of the protocol: [`Failover::step`] and what it remembers between steps.
//!
//! A step has a fixed order: take in the event, vote, move through the table until nothing moves,
//! then let gate, permit, PostgreSQL, record and messages follow. Nothing else changes anything.

use std::time::Duration;

use crate::event::{Action, Data, Event, Notice, PgCommand, PgReport, Trouble};
use crate::link::Link;
use crate::postgres::{Postgres, Running};
use crate::record::{Recall, Record};
use crate::settings::Settings;
use crate::state::{Input, State};
use crate::store::Store;
use crate::table::transition;
use crate::uncounted::{Counter, Uncounted};
use crate::wire::{Flags, Heartbeat};
use crate::witness::Answer;
use crate::words::{Epoch, Lsn, Side, Ticket};

/// Moves within one step. The longest useful chain is three (rendezvous, catching up, in sync).
const MOVES_MAX: usize = 6;
/// Between two answers of a gateway at most so many heartbeats pass, or it was away. A cut that is
/// long enough for the peer to act must show in it: the peer acts after the bound of silence, of
/// which an echo's way takes two heartbeats at most; the bound is at least five.
const GATEWAY_GAP_HEARTBEATS: u32 = 2;
/// The pause after a failed fence doubles so often.
const FENCE_PAUSE_DOUBLINGS: u32 = 6;
/// A witness's or gateway's word counts as fresh for this many heartbeats.
pub(crate) const FRESH_HEARTBEATS: u32 = 3;

/// How a solo leader's standby becomes synchronous again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Join {
    /// Since when it has kept up.
    pub(crate) stable: Option<Duration>,
    /// Whether commits shall wait for it.
    pub(crate) wait: bool,
    /// What it must have flushed since they do.
    pub(crate) barrier: Option<Lsn>,
}

/// A fence command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fence {
    /// Not tried, or to be tried again after this time.
    Idle(Duration),
    /// Under way since then.
    Running(Duration),
    /// The peer is off since then.
    Confirmed(Duration),
}

/// One node's part of the protocol.
#[derive(Clone, Debug, Hash)]
#[allow(clippy::struct_excessive_bools)] // What it did and was told, each independent of the rest.
pub struct Failover {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) now: Duration,
    pub(crate) booted: Option<Duration>,
    pub(crate) entered: Duration,
    pub(crate) store: Store,
    pub(crate) link: Link,
    pub(crate) nonce: Uncounted<u64>,
    /// The configuration in which the peer was seen, with all its memory, since this boot.
    pub(crate) vouched: Option<Epoch>,
    pub(crate) pg: Postgres,
    pub(crate) answer: Option<Answer>,
    pub(crate) answered: Option<Duration>,
    pub(crate) asked: Option<Duration>,
    /// Since when a gateway has answered without a gap, and when it last did.
    pub(crate) gateway: Option<(Duration, Duration)>,
    pub(crate) foreign_vip: Option<Duration>,
    pub(crate) fence: Fence,
    failed_fences: u32,
    fence_tickets: Counter,
    fence_ticket: Uncounted<Ticket>,
    pub(crate) gate: bool,
    pub(crate) permit: bool,
    pub(crate) grace: bool,
    pub(crate) join: Join,
    pub(crate) hold_down: Duration,
    pub(crate) in_sync_since: Option<Duration>,
    pub(crate) resign: bool,
    /// When a hand-over was last called off.
    pub(crate) gave_up: Option<Duration>,
    pub(crate) reinit: bool,
    pub(crate) trouble: Trouble,
    pub(crate) forced: bool,
    pub(crate) revision: Option<Uncounted<Ticket>>,
    pub(crate) revision_tickets: Counter,
    pub(crate) beat_due: Duration,
    pub(crate) told: Option<(Record, State, Flags, bool)>,
}

impl Failover {
    /// A node that hasn't booted; its first event is [`Event::Boot`].
    pub fn new(settings: Settings) -> Self {
        let record = Record::blank(settings.cluster, settings.side);
        Self {
            settings,
            state: State::Boot,
            now: Duration::ZERO,
            booted: None,
            entered: Duration::ZERO,
            store: Store::new(record, !settings.rules.persist_before_effect),
            link: Link::new(0),
            nonce: Uncounted(0),
            vouched: None,
            pg: Postgres::new(Data::Missing),
            answer: None,
            answered: None,
            asked: None,
            gateway: None,
            foreign_vip: None,
            fence: Fence::Idle(Duration::ZERO),
            failed_fences: 0,
            fence_tickets: Counter::default(),
            fence_ticket: Uncounted::default(),
            gate: false,
            permit: false,
            grace: false,
            join: Join::default(),
            hold_down: settings.times.hold_down,
            in_sync_since: None,
            resign: false,
            gave_up: None,
            reinit: false,
            trouble: Trouble::None,
            forced: false,
            revision: None,
            revision_tickets: Counter::default(),
            beat_due: Duration::ZERO,
            told: None,
        }
    }

    /// Takes in an event at a time, and appends what the shell shall do. Time is the node's
    /// boottime clock, which never goes back; an earlier time counts as the latest one.
    pub fn step(&mut self, now: Duration, event: &Event, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        self.absorb(event, out);
        if self.booted.is_none() {
            return;
        }
        for _ in 0..MOVES_MAX {
            self.vote(out);
            let Some((input, to)) = self.judge() else { break };
            self.enter(to, input, out);
        }
        self.serve(out);
        self.store.pump(out);
        self.talk(out);
    }

    /// The first input that holds and matters.
    fn judge(&self) -> Option<(Input, State)> {
        let matters = |input| transition(self.state, input).map(|to| (input, to));
        Input::ALL.into_iter().filter_map(matters).find(|(input, _)| self.holds(*input))
    }

    fn enter(&mut self, to: State, because: Input, out: &mut Vec<Action>) {
        let from = self.state;
        self.leave(from, to);
        (self.state, self.entered) = (to, self.now);
        if matches!(to, State::PSync) {
            self.in_sync_since = Some(self.now);
        }
        // Sessions outlive a lost peer for a moment, but never a PostgreSQL that was gone.
        self.grace = from == State::PSync && to == State::PBlocked && self.pg.is_primary();
        if from.is_leading() && !to.is_leading() {
            self.resign = false;
        }
        // Should a rewind be interrupted, whoever boots next must know that it was begun.
        self.store.wanted.half_rewound |=
            to == State::Rewind && self.settings.rules.rewind_is_noted;
        self.join = Join::default();
        self.pg.repaired = None;
        out.push(Action::Moved { from, to, because });
    }

    fn leave(&mut self, from: State, to: State) {
        let times = self.settings.times;
        if from == State::PSync && to == State::PBlocked {
            // Synchrony that lasted is a fresh start; synchrony that didn't is a flap.
            let lasted =
                self.in_sync_since.map_or(Duration::ZERO, |at| self.now.saturating_sub(at));
            self.hold_down =
                if lasted > self.hold_down.saturating_mul(2).saturating_add(times.hold_down) {
                    times.hold_down
                } else {
                    self.hold_down.saturating_mul(2).min(times.hold_down_longest)
                };
        }
        if from == State::HandOver && to == State::PBlocked {
            self.resign = false;
            self.gave_up = Some(self.now);
        }
    }

    fn absorb(&mut self, event: &Event, out: &mut Vec<Action>) {
        match *event {
            Event::Boot { recall, data, nonce } => self.boot(recall, data, nonce),
            Event::Persisted(ticket) => self.store.written(ticket),
            Event::PersistFailed(_) => {
                self.store.failed = true;
                out.push(Action::Report(Notice::StorageFailed));
            }
            Event::Heard(channel, heartbeat) => self.hear(channel, &heartbeat),
            Event::Unplugged => self.link.cut(self.now),
            Event::Witness(answer) => self.hear_witness(answer),
            Event::Postgres(report) => self.hear_postgres(report),
            Event::Fenced(ticket, off) if self.fence_ticket.0 == ticket => self.fence_ended(off),
            Event::Tick | Event::Fenced(..) => {}
            Event::GatewayAnswered => self.hear_gateway(),
            Event::ForeignVip => self.foreign_vip = Some(self.now),
            Event::Trouble(trouble) => self.trouble = trouble,
            Event::RevisionFenced(ticket) => {
                if self.revision.take_if(|asked| asked.0 == ticket).is_some() {
                    self.store.wanted.revision_fence = false;
                }
            }
            Event::Operator(command) => {
                let reply = self.order(command, out);
                out.push(Action::Reply(reply));
            }
        }
    }

    fn boot(&mut self, recall: Recall, data: Data, nonce: u64) {
        if self.booted.is_some() {
            return;
        }
        let settings = &self.settings;
        let record = match recall {
            Recall::Found(record) => record,
            Recall::Missing | Recall::Damaged => Record {
                // Whatever the data was last used for, nobody remembers.
                rewind: data != Data::Missing,
                ..Record::blank(settings.cluster, settings.side)
            },
        };
        self.store = Store::new(record, !settings.rules.persist_before_effect);
        // A database that was made just before a crash must not be made again when it is lost.
        self.store.wanted.fresh &= data == Data::Missing;
        self.link = Link::new(nonce);
        self.nonce = Uncounted(nonce);
        self.pg = Postgres::new(data);
        self.booted = Some(self.now);
    }

    fn hear(&mut self, channel: u8, heartbeat: &Heartbeat) {
        let settings = &self.settings;
        if heartbeat.cluster == settings.cluster && heartbeat.from == settings.side.peer() {
            let by_echo = settings.rules.contact_by_echo;
            let news = self.link.hear(self.now, settings.times.loss, channel, heartbeat, by_echo);
            if news && heartbeat.flags.voter && heartbeat.config == self.sure().config {
                self.vouched = Some(heartbeat.config.epoch);
            }
        }
    }

    fn hear_gateway(&mut self) {
        let gap = self.settings.times.heartbeat.saturating_mul(GATEWAY_GAP_HEARTBEATS);
        let unbroken = |(_, last): &(Duration, Duration)| self.now.saturating_sub(*last) <= gap;
        let since = self.gateway.filter(unbroken).map_or(self.now, |(since, _)| since);
        self.gateway = Some((since, self.now));
    }

    fn hear_witness(&mut self, answer: Answer) {
        if answer.cluster == self.settings.cluster && answer.nonce == self.nonce.0 {
            self.answer = Some(answer);
            self.answered = Some(self.now);
        }
    }

    fn hear_postgres(&mut self, report: PgReport) {
        let (now, retry) = (self.now, self.settings.times.retry);
        let was = self.pg.running;
        match self.pg.hear(now, retry, report) {
            Some((PgCommand::Rewind | PgCommand::Reclone, true)) => {
                self.store.wanted.rewind = false;
                self.store.wanted.half_rewound = false;
                self.store.wanted.fresh = false;
                self.reinit = false;
            }
            Some((PgCommand::Rewind, false)) => self.pg.clone_needed |= self.sees_leader(),
            // Only the first database may be made out of nothing.
            Some((
                PgCommand::InitDb | PgCommand::StartPrimary { .. } | PgCommand::Promote,
                true,
            )) => self.store.wanted.fresh = false,
            Some((PgCommand::RequirePeer, true)) => self.join.barrier = self.pg.barrier,
            _ => {}
        }
        let failed = matches!(report, PgReport::Failed(_) | PgReport::Exited);
        if failed && self.pg.data == Data::Standby && self.pg.is_hopeless() {
            self.pg.clone_needed |= self.sees_leader() && !self.is_counted_on();
        }
        match (was, self.pg.running) {
            (Running::Primary { .. }, Running::Stopped) if self.state.is_leading() => {
                self.pg.down_since = Some(now);
            }
            (_, Running::Primary { .. }) => self.pg.down_since = None,
            _ => {}
        }
        if !self.pg.is_primary() {
            self.pg.barrier = None;
            self.grace = false;
        }
    }

    pub(crate) fn start_fence(&mut self, out: &mut Vec<Action>) {
        let ticket = self.fence_tickets.next();
        self.fence_ticket = Uncounted(ticket);
        self.fence = Fence::Running(self.now);
        out.push(Action::Fence(ticket));
    }

    fn fence_ended(&mut self, off: bool) {
        let Fence::Running(since) = self.fence else { return };
        self.fence = if off {
            Fence::Confirmed(since)
        } else {
            // A switch that is out of order may be so for a weekend.
            let pause = self.settings.times.retry.saturating_mul(1 << self.failed_fences);
            self.failed_fences = (self.failed_fences + 1).min(FENCE_PAUSE_DOUBLINGS);
            Fence::Idle(self.now.saturating_add(pause))
        };
    }

    /// What the fence was for is over. A cut that comes too late may hit the only leader.
    pub(crate) fn forget_fence(&mut self, out: &mut Vec<Action>) {
        if matches!(self.fence, Fence::Running(_)) {
            if !self.settings.rules.fence_is_called_off {
                return;
            }
            out.push(Action::CallOffFence(self.fence_ticket.0));
        }
        self.fence = Fence::Idle(Duration::ZERO);
        self.failed_fences = 0;
    }

    pub(crate) fn me(&self) -> Side {
        self.settings.side
    }

    /// The durable record.
    pub(crate) fn sure(&self) -> &Record {
        self.store.sure()
    }

    /// Moves all of the node's times back, as if everything had happened earlier. Explorations use
    /// it to recognise states that differ only by when they were reached.
    pub fn shift_back(&mut self, by: Duration) {
        let back = |time: &mut Duration| *time = time.saturating_sub(by);
        back(&mut self.now);
        back(&mut self.entered);
        back(&mut self.beat_due);
        let options = [
            &mut self.booted,
            &mut self.answered,
            &mut self.asked,
            &mut self.foreign_vip,
            &mut self.in_sync_since,
            &mut self.join.stable,
            &mut self.gave_up,
        ];
        options.into_iter().flatten().for_each(back);
        if let Some((since, last)) = &mut self.gateway {
            back(since);
            back(last);
        }
        match &mut self.fence {
            Fence::Idle(at) | Fence::Running(at) | Fence::Confirmed(at) => back(at),
        }
        self.link.shift_back(by);
        self.pg.shift_back(by);
    }
}
