//! The role loop: hears, steps the protocol, and does what it says.
//!
//! ```text
//!   wait ──> what is due by the clock ──> what came in, a bounded piece of each ──> signs of life
//!    ^                                                                                   │
//!    └───────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Time comes before news: a loop that stood still learns by its clock that it is late, and gives
//! up what it may no longer have, before it believes what waited in its sockets. Each event is one
//! step, and its actions are carried out before the next one, in their order.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::time::Duration;

use failover::{
    Accepted, Action, Ask, Event, Failover, PgCommand, PgReport, Refusal, State, Ticket, Trouble,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sys::clock;
use sys::notify::Notifier;
use sys::signals::SignalFd;

use super::carrier::Carrier;
use super::channels::Channels;
use super::config::Config;
use super::disk::{Health, Turn};
use super::fence::Fence;
use super::gateways::Gateways;
use super::inbox::{Inbox, Outlet};
use super::log::{Complaint, Log};
use super::memory::Job;
use super::news::{News, NotWritten};
use super::permit::Holder;
use super::stop::Stop;
use super::words::Pair;
use crate::control::{Input, Names, Server};
use crate::gate::Gate;
use crate::postgres::{Driver, Report};

/// Signs of life; the supervisor wants one in some seconds.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Routes change when somebody changes them, which nobody announces.
const ROUTERS_EVERY: Duration = Duration::from_secs(5);
/// How often what is missing is looked for.
const MISSING_EVERY: Duration = Duration::from_secs(1);
/// A node that couldn't write its record has no say until it starts anew, which it tries so much
/// later, or when its disk is well again.
const ANEW_AFTER: Duration = Duration::from_mins(1);
/// News of threads and reports of PostgreSQL in one turn.
const PER_TURN: usize = 64;

/// The keeper.
pub(crate) struct Keeper {
    pub(super) config: Config,
    pub(super) settings: failover::Settings,
    pub(super) names: Names,
    /// Where the operator asks; none if it can't be had.
    pub(super) door: Option<Server>,
    pub(super) pair: Pair,
    pub(super) core: Failover,
    pub(super) nonce: u64,
    pub(super) booted: bool,
    pub(super) signals: SignalFd,
    pub(super) inbox: Inbox<News>,
    pub(super) outlet: Outlet<News>,
    pub(super) memory: Sender<Job>,
    pub(super) witness: Option<Sender<Ask>>,
    /// Why the witness doesn't answer, as last said.
    pub(super) witness_silent: Option<String>,
    pub(super) channels: Channels,
    pub(super) carrier: Option<Carrier>,
    pub(super) gateways: Option<Gateways>,
    pub(super) gateways_due: Duration,
    pub(super) missing_due: Duration,
    pub(super) routers_due: Duration,
    pub(super) permit: Holder,
    pub(super) gate: Gate,
    pub(super) postgres: Driver,
    /// The command that PostgreSQL's driver has not answered yet.
    pub(super) busy: Option<(Ticket, PgCommand)>,
    /// The fence command that was last begun.
    pub(super) fence: Option<Fence>,
    pub(super) health: Health,
    pub(super) notifier: Notifier,
    pub(super) alive_due: Duration,
    /// What the supervisor was last told.
    pub(super) told: String,
    pub(super) log: Log,
    pub(super) stop: Option<Stop>,
    /// When to start anew, since a record wasn't written for a reason that may pass.
    pub(super) anew_at: Option<Duration>,
    pub(super) actions: Vec<Action>,
    /// When the last turn began.
    pub(super) last: Duration,
    pub(super) _lock: File,
}

/// What the loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    News,
    Carrier,
    Channel(u8),
    Gateways,
    Permit,
    Postgres,
    Asker(Input),
}

impl Keeper {
    /// Runs until a signal says to stop and everything is given up.
    pub(crate) fn run(&mut self) {
        self.say_how_it_begins();
        self.notifier.ready();
        while !self.has_ended() {
            let ready = self.wait();
            self.pass_time();
            for source in ready {
                self.hear(source);
            }
            self.pass_time_of_askers();
            self.go_on_stopping();
            self.tell();
        }
        self.log.line("ended");
    }

    fn say_how_it_begins(&mut self) {
        let (node, peer) = (&self.config.node, self.config.peer());
        let arbiter = self.settings.arbiter;
        self.log.line(format_args!(
            "{node} of {}, peer {peer}; {arbiter:?} decides",
            self.config.cluster
        ));
    }

    /// Waits for an input or the next time at which something is due.
    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Signals, Source::News, Source::Postgres];
        let own = [self.signals.as_fd(), self.inbox.as_fd(), self.postgres.as_fd()];
        let mut fds: Vec<_> = own.map(|fd| (fd, PollFlags::IN)).into();
        let mut add = |source, fd| {
            sources.push(source);
            fds.push((fd, PollFlags::IN));
        };
        for (number, socket) in self.channels.sockets() {
            add(Source::Channel(number), socket);
        }
        if let Some(carrier) = &self.carrier {
            add(Source::Carrier, carrier.as_fd());
        }
        for socket in self.gateways.iter().flat_map(Gateways::sockets) {
            add(Source::Gateways, socket);
        }
        if let Some(socket) = self.permit.socket() {
            add(Source::Permit, socket);
        }
        if let Some(door) = &self.door {
            door.watch(clock::boot(), |fd, interest, input| {
                sources.push(Source::Asker(input));
                fds.push((fd, interest));
            });
        }
        let mut polls: Vec<PollFd<'_>> =
            fds.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
        let pause = self.next_due().saturating_sub(clock::boot());
        let pause = Timespec::try_from(pause).unwrap_or_default();
        // An interrupted wait is a short one.
        let _count = poll(&mut polls, Some(&pause));
        let ready = |poll: &PollFd<'_>| !poll.revents().is_empty();
        sources.into_iter().zip(&polls).filter(|(_, poll)| ready(poll)).map(|(it, _)| it).collect()
    }

    fn next_due(&self) -> Duration {
        let core = (self.booted && !self.has_left()).then(|| self.core.wake_at());
        let gateways = self.gateways.as_ref().map(|_| self.gateways_due);
        let stop = self.stop.as_ref().map(Stop::until);
        let asker = self.door.as_ref().and_then(|door| door.next_deadline(clock::boot()));
        [core, gateways, stop, asker].into_iter().flatten().fold(self.alive_due, Duration::min)
    }

    /// Does what is due by the clock.
    fn pass_time(&mut self) {
        let now = clock::boot();
        let pause = now.saturating_sub(self.last);
        if pause > self.settings.times.loss.max(2 * ALIVE_EVERY) {
            self.log.line(format_args!("this node stood still for {} ms", pause.as_millis()));
        }
        self.last = now;
        if self.booted && now >= self.core.wake_at() {
            self.step(&Event::Tick);
        }
        match self.health.judge(now) {
            Some(Turn::Ill(trouble, why)) => {
                self.log.line(why);
                self.step(&Event::Trouble(trouble));
            }
            Some(Turn::Well) => {
                self.log.line("the disk is well again");
                self.anew_at = self.anew_at.map(|at| at.min(now));
                self.step(&Event::Trouble(Trouble::None));
            }
            None => {}
        }
        self.start_anew_if_due(now);
        if now >= self.missing_due {
            self.missing_due = now.saturating_add(MISSING_EVERY);
            self.look_for_what_is_missing();
        }
        if now >= self.gateways_due {
            self.ask_gateways(now);
        }
    }

    /// What is true of a node that couldn't write its record is what the record says, and that is
    /// read at the start.
    fn start_anew_if_due(&mut self, now: Duration) {
        let due = self.anew_at.is_some_and(|at| at <= now) && self.health.ill().is_none();
        if due && self.stop.is_none() {
            self.log.line("the record may be writable again: the keeper starts anew");
            self.begin_to_stop();
        }
    }

    /// What went missing while this process ran, such as vipd or the kernel's word on cables, or
    /// wasn't there yet when it began. A node that leads alone must hear of adverts before that, so
    /// vipd is wanted before there is anything to permit.
    fn look_for_what_is_missing(&mut self) {
        self.permit.reach();
        if self.carrier.is_none() {
            self.carrier = Carrier::open(&self.config.channels).ok();
            if self.carrier.is_some() {
                self.log.line("cables are watched again");
            }
        }
    }

    fn ask_gateways(&mut self, now: Duration) {
        let Some(gateways) = &mut self.gateways else { return };
        // Twice as often as the protocol wants an answer: a late one is then no gap.
        self.gateways_due = now.saturating_add(self.settings.times.heartbeat / 2);
        if now >= self.routers_due {
            self.routers_due = now.saturating_add(ROUTERS_EVERY);
            let addresses = match (&self.config.failover.gateways, &mut self.carrier) {
                (named, _) if !named.is_empty() => {
                    Ok(named.iter().map(|address| SocketAddr::new(*address, 0)).collect())
                }
                (_, Some(carrier)) => carrier.routers().map_err(|error| error.to_string()),
                (_, None) => Err("routes can't be read".to_owned()),
            };
            let set = addresses.and_then(|addresses: Vec<SocketAddr>| {
                gateways.set(&addresses).map_err(|error| error.to_string())
            });
            if let Err(error) = set {
                let text = format_args!("a gateway can't be asked: {error}");
                self.log.complain(now, Complaint::Gateway, text);
            } else if !gateways.are_known() {
                self.log.complain(
                    now,
                    Complaint::NoGateway,
                    "there is no gateway to ask, so nobody goes on alone by policy: add \
                     failover.gateways, a witness or a fence to the seed",
                );
            }
        }
        gateways.ask(now);
    }

    fn hear(&mut self, source: Source) {
        let now = clock::boot();
        match source {
            Source::Signals => self.hear_signals(),
            Source::News => self.hear_news(now),
            Source::Postgres => self.hear_postgres(),
            Source::Channel(number) => self.hear_channel(now, number),
            Source::Permit => {
                if self.permit.hear() {
                    self.step(&Event::ForeignVip);
                    if self.core.status().state == State::PBlocked {
                        self.log.complain(
                            now,
                            Complaint::ForeignVip,
                            "another router adverts the virtual address: if it is the peer it may \
                             lead, so this node doesn't go on alone by policy",
                        );
                    }
                }
            }
            Source::Asker(input) => self.attend(now, input),
            Source::Gateways => {
                let limit = self.settings.times.heartbeat.saturating_mul(2);
                if self.gateways.as_ref().is_some_and(|gateways| gateways.hear(now, limit)) {
                    self.step(&Event::GatewayAnswered);
                }
            }
            Source::Carrier => match self.carrier.as_mut().map(Carrier::hear) {
                Some(Ok(true)) => {
                    self.log.line("the last cable to the peer was pulled");
                    self.step(&Event::Unplugged);
                }
                Some(Err(error)) => {
                    self.log.line(format_args!("cables aren't watched any more: {error}"));
                    self.carrier = None;
                }
                Some(Ok(false)) | None => {}
            },
        }
    }

    fn hear_channel(&mut self, now: Duration, number: u8) {
        let received = self.channels.receive(number);
        for heartbeat in &received.heartbeats {
            self.step(&Event::Heard(number, *heartbeat));
        }
        if let Some(error) = received.refused {
            let name = self.channels.name(number);
            let text = format_args!("a datagram on \"{name}\" is refused: {error}");
            self.log.complain(now, Complaint::Datagram(number), text);
        }
    }

    fn hear_news(&mut self, now: Duration) {
        self.inbox.quiet();
        for _ in 0..PER_TURN {
            let Some(news) = self.inbox.take() else { return };
            self.hear_one(now, news);
        }
        // It was silenced for all of them, and some may be left for the next turn.
        self.inbox.ring();
    }

    fn hear_one(&mut self, now: Duration, news: News) {
        match news {
            News::Recalled(recall, data) => {
                self.log.line(self.pair.recalled(&recall, data));
                self.booted = true;
                self.step(&Event::Boot { recall, data, nonce: self.nonce });
            }
            News::Written(ticket, Ok(())) => self.step(&Event::Persisted(ticket)),
            News::Written(ticket, Err(failed)) => {
                self.log.line(failed.why);
                if failed.may_pass {
                    self.anew_at = Some(now.saturating_add(ANEW_AFTER));
                }
                self.step(&Event::PersistFailed(ticket));
            }
            News::Witness(Ok(answer)) => {
                if self.witness_silent.take().is_some() {
                    self.log.line("the witness answers again");
                }
                self.step(&Event::Witness(answer));
            }
            News::Witness(Err(why)) => {
                if self.witness_silent.as_ref() != Some(&why) {
                    self.log.line(&why);
                }
                self.witness_silent = Some(why);
            }
            News::Fenced(ticket, outcome) => {
                match &outcome {
                    Ok(()) => self.log.line("the peer's power is cut"),
                    Err(why) => self.log.line(format_args!("the fence: {why}")),
                }
                self.step(&Event::Fenced(ticket, outcome.is_ok()));
            }
            News::Disk(look) => self.health.hear(now, look),
        }
    }

    fn hear_postgres(&mut self) {
        for _ in 0..PER_TURN {
            match self.postgres.next_report() {
                None => return,
                Some(Report::RevisionFenced(ticket)) => {
                    self.step(&Event::RevisionFenced(ticket));
                }
                Some(Report::Postgres(report)) => {
                    if let PgReport::Done(ticket, ..) | PgReport::Failed(ticket) = report {
                        self.busy.take_if(|(asked, _)| *asked == ticket);
                        self.heard_stopped(ticket);
                    }
                    self.step(&Event::Postgres(report));
                }
            }
        }
    }

    /// One step of the protocol; what it replied, if it was an order.
    pub(super) fn step(&mut self, event: &Event) {
        let _reply = self.order_step(event);
    }

    /// The same for an order.
    pub(super) fn order_step(&mut self, event: &Event) -> Option<Result<Accepted, Refusal>> {
        if self.has_left() {
            return None;
        }
        let mut actions = std::mem::take(&mut self.actions);
        self.core.step(clock::boot(), event, &mut actions);
        let mut reply = None;
        for action in actions.drain(..) {
            if let Action::Reply(answer) = action {
                reply = Some(answer);
            }
            self.act(action);
        }
        self.actions = actions;
        reply
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::OpenGate(epoch) => {
                if let Err(error) = self.gate.open(epoch) {
                    self.log.line(error);
                }
            }
            Action::CloseGate => {
                self.gate.close();
            }
            Action::WithdrawPermit => self.permit.withdraw(),
            Action::Permit(epoch, until) => {
                if let Some(line) = self.permit.permit(epoch, until) {
                    self.log.line(line);
                }
            }
            Action::Persist(ticket, record) => {
                if self.memory.send((ticket, record)).is_err() {
                    let why = "the record's thread is gone".to_owned();
                    let gone = NotWritten { why, may_pass: false };
                    let _told = self.outlet.put(News::Written(ticket, Err(gone)));
                }
            }
            // A node whose disk answers nothing can neither lead nor consent, and a peer that hears it
            // waits for it. Silence is what any network may do to it, so it is always allowed.
            Action::Send(_) if self.health.is_silent(clock::boot()) => {}
            Action::Send(heartbeat) => {
                for line in self.channels.send(&heartbeat) {
                    self.log.line(line);
                }
            }
            Action::Ask(ask) => {
                if let Some(witness) = &self.witness {
                    let _asked = witness.send(ask);
                }
            }
            // It is stopped for the hand-over, and what it becomes next is for the next start.
            Action::Postgres(..) if self.only_tells() => {}
            Action::Postgres(ticket, command) => {
                self.busy = Some((ticket, command));
                self.postgres.command(ticket, command);
            }
            Action::Fence(ticket) => {
                let command = &self.config.failover.fence;
                match Fence::begin(command, ticket, self.outlet.clone()) {
                    Ok(fence) => self.fence = Some(fence),
                    Err(error) => {
                        let _told = self.outlet.put(News::Fenced(ticket, Err(error.to_string())));
                    }
                }
            }
            Action::CallOffFence(ticket) => {
                if let Some(fence) = self.fence.take() {
                    fence.call_off(ticket);
                }
            }
            Action::FenceRevision(ticket) => self.postgres.fence_revision(ticket),
            Action::Moved { .. } | Action::Report(_) | Action::Reply(_) => {}
        }
        if let Some(line) = self.pair.line(&action) {
            self.log.line(line);
        }
    }

    /// Tells the supervisor that the loop lives, and how it is.
    fn tell(&mut self) {
        let now = clock::boot();
        if now < self.alive_due {
            return;
        }
        self.alive_due = now.saturating_add(ALIVE_EVERY);
        self.notifier.alive();
        let mut summary = self.pair.summary(&self.core.status());
        if self.permit.held().is_some_and(|held| held > 0) {
            summary += ", with the virtual address";
        }
        if summary != self.told {
            self.notifier.status(&summary);
            self.told = summary;
        }
    }
}
