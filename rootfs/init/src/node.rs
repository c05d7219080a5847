//! The node while it runs: what the boot phases left, and the one loop of PID 1.
//!
//! ```text
//!  Node::wait:  watch() ──> poll ──> attend(each that is ready) ──> pass_time() ──> over?
//! ```
//! One turn waits for anything that can wake PID 1, at most a second, and does a bounded piece of
//! work for each. There is one thread and nothing else that waits. An error of the loop is said,
//! and the loop goes on: nothing that happens to the node may end PID 1.
//!
//! Whoever adds an input adds its line to [`Source`], its descriptor to [`Node::watch`] and its arm
//! to [`Node::attend`]; what has a deadline adds it to [`Node::patience`] and acts in
//! [`Node::pass_time`].

use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::process::Signal;
use seed::Seed;
use seed::manifest::Manifest;
use sys::signals::SignalFd;

use crate::announcement::{Announcement, Line};
use crate::clock;
use crate::console;
use crate::control::{NodeView, Server};
use crate::devices::{Devices, News};
use crate::network::Network;
use crate::power::{Buttons, Ending};
use crate::say;
use crate::services::{Services, reap};
use crate::slot;
use crate::state::State;
use crate::watch::{Source, Watch};
use crate::watchdog::Feeder;

/// The longest turn: the supervisor and the watchdog hear at least this often that we live.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// A loop that can't even wait must not spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Signals that are read in one turn; a storm of them is told as few as it were.
const SIGNALS_PER_TURN: usize = 16;

/// Between two looks whether STATE can still be written to.
const STATE_LOOK: Duration = Duration::from_secs(10);

/// A node that has lost STATE restarts no sooner than this after its start: a disk that is lost again
/// and again shall not take up the day.
const RESTART_AFTER: Duration = Duration::from_mins(10);

/// How long services may take to stop, all together, when the node goes down. PostgreSQL needs most
/// of it for its last checkpoint.
const SHUTDOWN_LIMIT: Duration = Duration::from_mins(1);

/// The same for who asks again because it takes too long.
const HURRIED_LIMIT: Duration = Duration::from_secs(5);

/// The node, as far as it has come.
#[derive(Debug)]
pub struct Node {
    pub(crate) started: Instant,
    pub(crate) manifest: Manifest,
    pub(crate) signals: SignalFd,
    pub(crate) buttons: Buttons,
    pub(crate) devices: Devices,
    /// A disk or a stick came since somebody waited for one.
    disk_came: bool,
    /// Whether what must outlive a boot has a place.
    pub(crate) state: State,
    /// From where the clock was lifted, if the machine's own was wrong.
    pub(crate) clock_floor: Option<&'static str>,
    pub(crate) seed: Option<Seed>,
    /// There from its phase on.
    pub(crate) network: Option<Network>,
    /// There from the last phase on.
    pub(crate) services: Option<Services>,
    pub(crate) watchdog: Feeder,
    /// Why there is no good seed yet.
    pub(crate) troubles: Vec<String>,
    control: Option<Server>,
    announcement: Option<Announcement>,
    /// The end that was asked for.
    asked: Option<Ending>,
    /// Deaths are left to be noted.
    more_deaths: bool,
    next_tidying: Duration,
    next_state_look: Duration,
}

impl Node {
    /// A node of which nothing is there yet.
    pub fn new(manifest: Manifest, signals: SignalFd) -> Self {
        Self {
            started: Instant::now(),
            manifest,
            signals,
            buttons: Buttons::default(),
            devices: Devices::default(),
            disk_came: false,
            state: State::default(),
            clock_floor: None,
            seed: None,
            network: None,
            services: None,
            watchdog: Feeder::default(),
            troubles: Vec::new(),
            control: None,
            announcement: None,
            asked: None,
            more_deaths: false,
            next_tidying: Duration::ZERO,
            next_state_look: Duration::ZERO,
        }
    }

    /// The node's name, once it has a seed.
    pub fn name(&self) -> String {
        self.seed.as_ref().map_or_else(|| "none".to_owned(), |seed| seed.node.name.to_string())
    }

    /// The services, from the last phase on.
    pub fn services(&mut self) -> Option<&mut Services> {
        self.services.as_mut()
    }

    /// From now on the node can be asked.
    pub fn listen(&mut self, server: Server) {
        self.control = Some(server);
    }

    /// The end that was asked for.
    pub(crate) fn asked(&self) -> Option<Ending> {
        self.asked
    }

    /// Takes over the services, which begin in the next turn.
    pub fn begin_services(&mut self, services: Services, now: Duration) {
        self.services = Some(services);
        self.announcement = Some(Announcement::new(now));
    }

    /// One turn of the loop: waits for something to happen, at most for `limit`, and attends to it.
    /// Says how the run shall end once that was asked for and the services are down.
    pub fn wait(&mut self, limit: Option<Duration>) -> Option<Ending> {
        let now = clock::now();
        let limit = self.patience(now).min(limit.unwrap_or(LONGEST_TURN));
        let mut watch = Watch::default();
        let console = console::writable();
        if let Some(console) = &console {
            watch.add(console.as_fd(), PollFlags::OUT, Source::Console);
        }
        self.watch(now, &mut watch);
        let ready = watch.wait(limit).unwrap_or_else(|error| {
            say!("the loop can't wait: {error}");
            sleep(PAUSE_AFTER_FAILURE);
            // Whatever is ready besides: children and time are always looked after.
            vec![Source::Signals]
        });
        let now = clock::now();
        for source in ready {
            self.attend(source, now);
        }
        if self.more_deaths {
            self.note_deaths(now);
        }
        self.pass_time(now);
        self.asked.filter(|_| self.services.as_ref().is_none_or(Services::is_over))
    }

    /// Turns of the loop until a disk comes, at most for a time. Says how the run shall end, if
    /// that was asked for meanwhile.
    pub(crate) fn wait_for_disk(&mut self, limit: Duration) -> Option<Ending> {
        let until = clock::now().saturating_add(limit);
        self.disk_came = false;
        loop {
            let left = until.saturating_sub(clock::now());
            let ending = self.wait(Some(left));
            if ending.is_some() || left.is_zero() || self.disk_came {
                return ending;
            }
        }
    }

    /// Everything that can wake the loop.
    fn watch<'fd>(&'fd self, now: Duration, watch: &mut Watch<'fd>) {
        // Deaths first: what else is ready often follows from them.
        watch.add(self.signals.as_fd(), PollFlags::IN, Source::Signals);
        for button in self.buttons.descriptors() {
            watch.add(button, PollFlags::IN, Source::Button);
        }
        if let Some(devices) = self.devices.descriptor() {
            watch.add(devices, PollFlags::IN, Source::Devices);
        }
        if let Some(news) = self.network.as_ref().and_then(Network::descriptor) {
            watch.add(news, PollFlags::IN, Source::Network);
        }
        if let Some(services) = &self.services {
            services.watch(now, watch);
        }
        if let Some(control) = &self.control {
            control.watch(now, |descriptor, flags, input| {
                watch.add(descriptor, flags, Source::Control(input));
            });
        }
    }

    /// A bounded piece of work for one of them.
    fn attend(&mut self, source: Source, now: Duration) {
        match source {
            Source::Signals => self.take_signals(now),
            Source::Button => {
                if self.buttons.pressed() {
                    say!("power button");
                    self.ask(Ending::PowerOff, now);
                }
            }
            Source::Network => self.tend_network(),
            // Devices are tended at every turn.
            Source::Devices => {}
            Source::Console => drop(console::flush()),
            Source::Control(input) => self.with_control(|control, node| {
                control.attend(input, node, now);
            }),
            Source::Output(_)
            | Source::Start(_)
            | Source::Group(_)
            | Source::Notify(_)
            | Source::Probe(_) => {
                if let Some(services) = &mut self.services {
                    services.attend(source, now);
                }
            }
        }
    }

    /// Lets the control socket look at the node, of which it is a part otherwise.
    fn with_control(&mut self, act: impl FnOnce(&mut Server, &mut dyn NodeView)) {
        if let Some(mut control) = self.control.take() {
            act(&mut control, self);
            self.control = Some(control);
        }
    }

    /// How long the loop may wait if nothing happens.
    fn patience(&self, now: Duration) -> Duration {
        if self.more_deaths {
            return Duration::ZERO;
        }
        let services = self.services.as_ref().and_then(|services| services.next_deadline(now));
        let control = self.control.as_ref().and_then(|control| control.next_deadline(now));
        let deadline = services.into_iter().chain(control).min();
        let until = deadline.map(|deadline| deadline.saturating_sub(now));
        let network = self.network.as_ref().and_then(Network::wake_in);
        until.into_iter().chain(network).min().unwrap_or(LONGEST_TURN).min(LONGEST_TURN)
    }

    /// Lets drivers come for what came, and leaves a slot whose root is damaged.
    fn tend_devices(&mut self) {
        for news in self.devices.handle() {
            match news {
                News::RootDamaged { block } => slot::leave_damaged(&block),
                News::Disk => self.disk_came = true,
            }
        }
    }

    /// Lets the network do what is to be done, and says what it says.
    pub(crate) fn tend_network(&mut self) {
        let lines = self.network.as_mut().map(Network::handle).unwrap_or_default();
        for line in lines {
            say!("{line}");
        }
    }

    /// What happens because time passes.
    fn pass_time(&mut self, now: Duration) {
        // A program that loads drivers may have ended, and more of them may wait.
        self.tend_devices();
        if self.network.as_ref().and_then(Network::wake_in).is_some_and(|left| left.is_zero()) {
            self.tend_network();
        }
        self.pass_time_for_services(now);
        // Last, so that followers get what services said in this turn.
        self.with_control(|control, node| control.pass_time(node, now));
    }

    fn pass_time_for_services(&mut self, now: Duration) {
        let Some(services) = &mut self.services else { return };
        services.pass_time(now);
        if self.next_tidying <= now {
            self.next_tidying = now.saturating_add(LONGEST_TURN);
            services.tidy();
            // A death whose signal was lost is noticed here at the latest.
            self.more_deaths = true;
        }
        self.watchdog.tend(now, services.stale(now));
        self.announce(now);
        self.look_after_state(now);
    }

    /// Nobody comes to restart a node whose file system only wants a check.
    fn look_after_state(&mut self, now: Duration) {
        if now < self.next_state_look {
            return;
        }
        self.next_state_look = now.saturating_add(STATE_LOOK);
        self.state.look_again();
        if self.state == State::Lost && self.asked.is_none() && now >= RESTART_AFTER {
            self.ask(Ending::Restart, now);
        }
    }

    /// Says that the node is ready, or what keeps it from being.
    fn announce(&mut self, now: Duration) {
        let (Some(services), Some(announcement)) = (&self.services, &mut self.announcement) else {
            return;
        };
        if self.asked.is_some() || !announcement.is_open() {
            return;
        }
        let unready = services.unready();
        match announcement.next(now, unready.is_empty()) {
            Some(Line::Ready) => {
                say!("ready node={} after={}ms", self.name(), self.started.elapsed().as_millis());
                slot::mark_good();
            }
            Some(Line::Degraded) => {
                say!("degraded: {}", unready.join(", "));
                slot::look();
            }
            None => {}
        }
    }

    /// Asks for the end of the run. Who asks again for the same has no patience left.
    pub fn ask(&mut self, ending: Ending, now: Duration) {
        let again = self.asked == Some(ending);
        let within = if again { HURRIED_LIMIT } else { SHUTDOWN_LIMIT };
        say!("asked to {}; services have {} s", ending.words(), within.as_secs());
        self.asked = Some(ending);
        if let Some(services) = &mut self.services {
            services.shut_down(within, now);
        }
    }

    fn take_signals(&mut self, now: Duration) {
        self.more_deaths = true;
        for _ in 0..SIGNALS_PER_TURN {
            match self.signals.next() {
                Ok(Some(Signal::CHILD)) => {}
                Ok(Some(signal)) => {
                    if let Some(ending) = Ending::asked_by(signal) {
                        self.ask(ending, now);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    say!("signals: {error}");
                    return;
                }
            }
        }
    }

    fn note_deaths(&mut self, now: Duration) {
        let services = &mut self.services;
        self.more_deaths = reap(|pid, exit| {
            if let Some(services) = services {
                services.take_death(pid, exit);
            }
        });
        if let Some(services) = services {
            services.settle_all(now);
        }
    }
}
