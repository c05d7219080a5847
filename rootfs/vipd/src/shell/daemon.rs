//! The loop: what it waits for, in which order it does things, and how it ends.
//!
//! ```text
//!   alarm set to the earliest time ──> wait ──> each ready descriptor ──> what is due
//!        ^                                        at most so much work      after each of them
//!        └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Timers are looked at after every descriptor and not after all of them, and each descriptor gets a
//! bounded share of work, so a flood on one of them delays no advert. Before a router's timer its own
//! socket is read: after a pause it must hear who replaced it before it acts on its own silence.

mod act;
mod checks;
mod news;
mod talk;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use netlink::{LinkId, Monitor, Netlink, NetlinkError};
use rustix::process::Signal;
use sys::signals::SignalFd;
use thiserror::Error;

use super::clock::{self, Alarm};
use super::control::{Control, Lock};
use super::holder::Holder;
use super::isolation;
use super::landscape::Landscape;
use super::log::Log;
use super::notify::Notify;
use super::permits::Permits;
use super::poller::{Poller, Source};
use super::probe::Probe;
use super::wire::Wire;
use crate::Config;
use crate::health::Health;
use crate::permission::Permission;
use crate::router::{Router, Settings};
use crate::schedule::Schedule;

/// Adverts of one router per turn: more than all honest neighbours send together.
const ADVERTS_PER_TURN: usize = 64;
/// Adverts that are read before a backup takes over: more than the socket's buffer holds, so that
/// the one that forbids it is among them.
const ADVERTS_BEFORE_TAKEOVER: usize = 8192;
/// Adverts that are read before an Active sends its own: enough for a pause among honest neighbours,
/// and over in less than a millisecond in a flood.
const ADVERTS_BEFORE_ADVERT: usize = 256;
/// After a failure that only time mends, such as an address that the kernel refused.
const RETRY: Duration = Duration::from_secs(5);
/// After an address couldn't be removed, at first, and then less often: another machine has it too.
const REMOVE_AGAIN: Duration = Duration::from_millis(100);
/// The longest IPv4 header, the longest advert, and a signature.
const PACKET_BYTES: usize = 60 + 8 + 255 * 16 + 28;

/// Why the daemon could not start, or go on.
#[derive(Debug, Error)]
pub enum DaemonError {
    #[error("the kernel can't be asked about links: {0}")]
    Netlink(#[from] NetlinkError),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error("the socket {} can't be opened: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("another vipd runs in this network namespace ({0}): stop it first")]
    NotAlone(io::Error),
}

fn system(what: &'static str) -> impl Fn(io::Error) -> DaemonError {
    move |source| DaemonError::System { what, source }
}

/// What can be due; the number is an index into the daemon's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Router(usize),
    Check(usize),
    CheckTimeout(usize),
    Retry(usize),
    /// Addresses that couldn't be taken off a link.
    Leftover(usize),
    /// Links and addresses, which couldn't be listed.
    Listing,
    Impatience,
    Alive,
}

/// One virtual router with its sockets.
#[derive(Debug)]
struct Unit {
    router: Router,
    wire: Option<Wire>,
    /// Its own interface, where it has a virtual MAC.
    virtual_link: Option<LinkId>,
    /// It has addresses that couldn't be taken off the link; how long the next try waits.
    leftover: Option<Duration>,
}

impl Unit {
    /// Whether it has addresses here by the permit, or may still have some.
    fn holds_by_permit(&self) -> bool {
        let holds = self.router.is_active() || self.leftover.is_some();
        self.router.settings().permit_required && holds
    }
}

/// One check with its memory.
#[derive(Debug)]
struct Check {
    probe: Probe,
    health: Health,
    started_at: Duration,
}

#[derive(Debug)]
struct Daemon {
    poller: Poller,
    alarm: Alarm,
    schedule: Schedule<Due>,
    signals: SignalFd,
    log: Log,
    notify: Notify,
    holder: Holder,
    monitor: Monitor,
    landscape: Landscape,
    units: Vec<Unit>,
    checks: Vec<Check>,
    permission: Permission,
    permits: Option<Permits>,
    /// How many routers have addresses by the permit, as last told to its holder.
    told_held: u8,
    /// When its holder was last told that somebody else adverts an address of the permit's.
    told_claimed: Option<Duration>,
    control: Control,
    started_at: Duration,
    packet: Vec<u8>,
    advert: Vec<u8>,
    stopping: bool,
    _lock: Lock,
}

/// Runs until a signal says to stop; then gives every address up.
pub fn run(config: &Config) -> Result<(), DaemonError> {
    let mut daemon = Daemon::open(config)?;
    let outcome = daemon.begin(config).and_then(|()| daemon.turns());
    // Whatever it was that ended the loop, no address is left behind.
    daemon.end();
    outcome
}

impl Daemon {
    fn open(config: &Config) -> Result<Self, DaemonError> {
        let signals = SignalFd::new(&[Signal::TERM, Signal::INT, Signal::HUP, Signal::CHILD])
            .map_err(system("signals can't be read"))?;
        let lock = Lock::take().map_err(DaemonError::NotAlone)?;
        let control = Control::open(&config.control)
            .map_err(|source| DaemonError::Socket { path: config.control.clone(), source })?;
        let permits = if config.wants_permit() {
            let path = &config.permit_socket;
            let opened = Permits::open(path, config.permit_user);
            Some(opened.map_err(|source| DaemonError::Socket { path: path.clone(), source })?)
        } else {
            None
        };
        let now = clock::boot();
        // News are heard from before the list, so that nothing falls between.
        let monitor = Monitor::open()?;
        let mut holder = Holder::open()?;
        let landscape = Landscape::list(&mut holder.netlink)?;
        let settings = config.instances.iter().flat_map(Settings::of);
        let unit = |settings| Unit {
            router: Router::new(settings, now),
            wire: None,
            virtual_link: None,
            leftover: None,
        };
        let checks = config.instances.iter().flat_map(|instance| {
            instance.checks.iter().map(|check| Check {
                probe: Probe::new(&instance.name, check.clone()),
                health: Health::new(check.fall, check.rise),
                started_at: now,
            })
        });
        Ok(Self {
            poller: Poller::new().map_err(system("nothing can be waited for"))?,
            alarm: Alarm::new().map_err(system("there is no timer"))?,
            schedule: Schedule::new(),
            signals,
            log: Log::new(),
            notify: Notify::from_environment(),
            holder,
            monitor,
            landscape,
            units: settings.map(unit).collect(),
            checks: checks.collect(),
            permission: Permission::default(),
            permits,
            told_held: 0,
            told_claimed: None,
            control,
            started_at: now,
            packet: vec![0; PACKET_BYTES],
            advert: vec![0; PACKET_BYTES],
            stopping: false,
            _lock: lock,
        })
    }

    fn begin(&mut self, config: &Config) -> Result<(), DaemonError> {
        let wait = system("nothing can be waited for");
        self.poller.add(&self.alarm, Source::Alarm).map_err(&wait)?;
        self.poller.add(&self.signals, Source::Signals).map_err(&wait)?;
        self.poller.add(&self.monitor, Source::Monitor).map_err(&wait)?;
        self.poller.add(self.control.listener(), Source::ControlListener).map_err(&wait)?;
        if let Some(permits) = &self.permits {
            self.poller.add(permits.listener(), Source::PermitListener).map_err(&wait)?;
        }
        self.clean()?;
        if !self.holder.has_sockets() {
            self.log
                .line("connections of vanished addresses can't be ended: no socket diagnostics");
        }
        let now = clock::boot();
        self.begin_checks(now);
        for index in 0..self.units.len() {
            self.reconcile(now, index);
        }
        let starts_programs = self.checks.iter().any(|check| check.probe.starts_programs());
        for failed in isolation::isolate(config.realtime_priority, starts_programs) {
            self.log.line(failed);
        }
        self.log.line(format_args!("{} virtual routers", self.units.len()));
        self.notify.say("READY=1");
        if let Some(every) = self.notify.every() {
            self.schedule.set(Due::Alive, now.saturating_add(every));
        }
        Ok(())
    }

    /// Removes what a killed predecessor left behind, before anything is said or heard.
    fn clean(&mut self) -> Result<(), NetlinkError> {
        let routers: Vec<Router> = self.units.iter().map(|unit| unit.router.clone()).collect();
        let (removed, failed) = self.holder.clean(&routers, &self.landscape);
        for what in &removed {
            self.log.line(format_args!("removed {what}, left behind by an earlier run"));
        }
        for error in failed {
            self.log.line(format_args!("left behind, and it stays: {error}"));
        }
        self.landscape = Landscape::list(&mut self.holder.netlink)?;
        Ok(())
    }

    fn turns(&mut self) -> Result<(), DaemonError> {
        while !self.stopping {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), DaemonError> {
        self.alarm.set(self.schedule.next()).map_err(system("the timer can't be set"))?;
        let ready = self.poller.wait().map_err(system("the wait failed"))?;
        for source in ready {
            self.handle(source)?;
            self.do_what_is_due()?;
        }
        Ok(())
    }

    fn handle(&mut self, source: Source) -> Result<(), DaemonError> {
        let now = clock::boot();
        match source {
            Source::Alarm => self.alarm.rang(),
            Source::Signals => self.hear_signals(now),
            Source::Monitor => self.hear_news()?,
            Source::Adverts(index) => self.hear_adverts(now, index, ADVERTS_PER_TURN),
            Source::Claims(index) => self.hear_claims(now, index),
            Source::Probe(index) => self.go_on_with_check(now, index),
            Source::PermitListener => self.meet_holder(now),
            Source::PermitHolder => self.hear_holder(now),
            Source::ControlListener => self.meet_asker(now),
            Source::ControlClient(number) => self.hear_asker(now, number),
        }
        Ok(())
    }

    fn do_what_is_due(&mut self) -> Result<(), DaemonError> {
        let mut now = clock::boot();
        while let Some((due, at)) = self.schedule.due(now) {
            match due {
                Due::Router(index) => {
                    self.notice_lateness(now, index, at);
                    let active = self.units.get(index).is_some_and(|unit| unit.router.is_active());
                    let most = if active { ADVERTS_BEFORE_ADVERT } else { ADVERTS_BEFORE_TAKEOVER };
                    self.hear_adverts(now, index, most);
                    now = clock::boot();
                    let actions = self.units.get_mut(index).map(|unit| unit.router.tick(now));
                    self.act(now, index, actions.unwrap_or_default());
                }
                Due::Check(index) => self.start_check(now, index),
                Due::CheckTimeout(index) => self.end_check(now, index),
                Due::Retry(index) => self.retry(now, index),
                Due::Leftover(index) => self.take_leftovers_away(now, index),
                Due::Listing => {
                    self.list_again()?;
                    now = clock::boot();
                }
                Due::Impatience => self.control.expire(now),
                Due::Alive => {
                    self.notify.say("WATCHDOG=1");
                    if let Some(every) = self.notify.every() {
                        self.schedule.set(Due::Alive, now.saturating_add(every));
                    }
                }
            }
        }
        Ok(())
    }

    fn hear_signals(&mut self, now: Duration) {
        while let Ok(Some(signal)) = self.signals.next() {
            if signal == Signal::CHILD {
                self.hear_of_children(now);
            } else {
                self.stopping = true;
            }
        }
    }

    /// Gives everything up; every failure is said and none keeps the next address.
    fn end(&mut self) {
        self.notify.say("STOPPING=1");
        let now = clock::boot();
        for index in 0..self.units.len() {
            let actions = self.units.get_mut(index).map(|unit| unit.router.stop(now));
            self.act(now, index, actions.unwrap_or_default());
            let link = self.units.get_mut(index).and_then(|unit| unit.virtual_link.take());
            if let Some(error) = link.and_then(|link| self.holder.delete_virtual(&link).err()) {
                self.log.line(error);
            }
        }
        for check in &mut self.checks {
            check.probe.abandon();
        }
        self.log.line("stopped");
    }

    fn held_by_permit(&self) -> u8 {
        let held = self.units.iter().filter(|unit| unit.holds_by_permit());
        u8::try_from(held.count()).unwrap_or(u8::MAX)
    }

    fn netlink(&mut self) -> &mut Netlink {
        &mut self.holder.netlink
    }
}
