//! The shell around the supervisor: it does what [`Supervisor::step`] says, and tells it what came
//! of it.
//!
//! ```text
//!              ┌─ Spawn, Signal, KillGroup, Probe ──> clone3, pidfd, cgroup.kill, connect …
//!  Supervisor ─┤                                          │
//!              └<─ Spawned, Ready, Alive, Exited ─────────┘ start report, wait, cgroup.events,
//!                                                           notify socket, probes
//! ```
//! What it owns: the processes of services, their cgroups, pipes and sockets, the journal of what
//! they say. What it never does: decide (that is the supervisor's), or wait for a service: whatever
//! takes time is polled by the one loop of the node.
//!
//! A run is over when its process has ended **and** its cgroup is empty. What a process leaves
//! behind is killed at once, so a new run never meets the remains of the one before.

mod account;
mod actions;
mod cgroup;
mod directory;
mod events;
mod launch;
mod notice;
mod notify;
mod output;
mod probe;
mod reap;
mod runner;
mod words;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use logs::Journal;
use rustix::event::PollFlags;
use rustix::process::Pid;
use seed::manifest::{Service, User};
use seed::section::ConsoleLevel;
use serde_json::Value;
use supervise::{Event, Exit, GraphError, ServiceStatus, State, Supervisor, Wish};
use thiserror::Error;

use crate::console;
use crate::say;
use crate::watch::{Source, Watch};

use account::Accounts;
use cgroup::{CgroupError, Tree};
use probe::Probe;
pub use reap::{REAPED_PER_TURN, reap};
use runner::Runner;

/// What the journal keeps of each service: some hundred lines, about as many as a person reads.
const JOURNAL_BYTES_PER_SOURCE: usize = 64 * 1024;

/// The journal's name for PID 1 itself.
pub(crate) const OURSELVES: &str = "init";

/// How long what a service left behind may take to die until the console says so. The kernel needs
/// milliseconds; what takes longer hangs in a device.
const COMPLAIN_AFTER: Duration = Duration::from_secs(15);

#[derive(Debug, Error)]
pub enum ServicesError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("/dev/null: {0}")]
    NoInput(io::Error),
    #[error("{}: {source}", path.display())]
    Notify { path: PathBuf, source: io::Error },
}

/// What is to run, and where.
#[derive(Debug)]
pub struct Setup<'a> {
    pub services: &'a [Service],
    pub users: &'a [User],
    /// The seed's context: it decides which services run, and what their ports are.
    pub context: Value,
    pub places: Places,
    pub console_level: ConsoleLevel,
    /// Whether services get the rights that they declare, which only root can give.
    pub gives_rights: bool,
}

/// Where services have their cgroups and sockets.
#[derive(Clone, Debug)]
pub struct Places {
    /// The mounted root of the cgroup tree.
    pub cgroups: PathBuf,
    /// The name of our part of it.
    pub tree_name: String,
    /// The folder of notify sockets.
    pub notify: PathBuf,
}

impl Places {
    /// Those of a node.
    pub fn of_node() -> Self {
        Self {
            cgroups: PathBuf::from("/sys/fs/cgroup"),
            tree_name: "edgepair".to_owned(),
            notify: PathBuf::from("/run/edgepair/notify"),
        }
    }
}

/// The services of the node, and everything about them.
#[derive(Debug)]
pub struct Services {
    supervisor: Supervisor,
    /// In the supervisor's order, as are the sources of the journal.
    runners: Vec<Runner>,
    journal: Journal,
    tree: Tree,
    accounts: Accounts,
    places: Places,
    context: Value,
    console_level: ConsoleLevel,
    gives_rights: bool,
    input: OwnedFd,
    /// What happened and isn't told yet.
    news: VecDeque<Event>,
    over: bool,
    /// The last record that the console was shown.
    shown: u64,
}

impl Services {
    /// Raises the limit of open files that PID 1 hands on to services.
    pub fn raise_limits() -> io::Result<()> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let maximum = Some(launch::OPEN_FILES_MAX);
        let raised = rustix::process::Rlimit { current: limit.current, maximum };
        Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?)
    }

    /// Prepares everything; nothing runs before [`Services::pass_time`].
    pub fn new(setup: Setup<'_>) -> Result<Self, ServicesError> {
        let supervisor = Supervisor::new(setup.services, &setup.context)?;
        let services = supervisor.ids().filter_map(|id| supervisor.service(id).cloned());
        let runners: Vec<Runner> = services.map(Runner::new).collect();
        let (tree, troubles) = Tree::make(&setup.places.cgroups, &setup.places.tree_name)?;
        for trouble in troubles {
            say!("{trouble}");
        }
        let notify = |source| {
            let path = setup.places.notify.clone();
            ServicesError::Notify { path, source }
        };
        std::fs::create_dir_all(&setup.places.notify).map_err(notify)?;
        let names = runners.iter().map(|runner| runner.service.name.as_str());
        let names: Vec<&str> = names.chain([OURSELVES]).collect();
        let journal = Journal::new(&names, JOURNAL_BYTES_PER_SOURCE);
        for runner in &runners {
            let signal = &runner.service.stop.signal;
            if launch::signal(signal).is_none() {
                let name = &runner.service.name;
                say!("{name}: no stop signal is called {signal:?}; it is sent TERM");
            }
        }
        Ok(Self {
            supervisor,
            runners,
            journal,
            tree,
            accounts: Accounts::new(setup.users),
            places: setup.places,
            context: setup.context,
            console_level: setup.console_level,
            gives_rights: setup.gives_rights,
            input: sys::process::no_input().map_err(ServicesError::NoInput)?,
            news: VecDeque::new(),
            over: false,
            shown: 0,
        })
    }

    /// Adds everything that can wake the services' part of the loop. The start of a process comes
    /// before what it says, since both may be there in one turn.
    pub fn watch<'fd>(&'fd self, now: Duration, watch: &mut Watch<'fd>) {
        for (place, runner) in self.runners.iter().enumerate() {
            if let Some(life) = &runner.life {
                if let Some(start) = &life.start {
                    watch.add(start.as_fd(), PollFlags::IN, Source::Start(place));
                }
                if life.ended.is_some() {
                    watch.add(life.group.events(), PollFlags::PRI, Source::Group(place));
                }
                if let Some(descriptor) = life.probe.as_ref().and_then(Probe::descriptor) {
                    watch.add(descriptor, PollFlags::OUT, Source::Probe(place));
                }
            }
            if let Some(socket) = runner.notify() {
                watch.add(socket.as_fd(), PollFlags::IN, Source::Notify(place));
            }
            if let Some(output) = runner.output_to_watch()
                && self.journal.paused_until(place, now).is_none()
            {
                watch.add(output.as_fd(), PollFlags::IN, Source::Output(place));
            }
        }
    }

    /// Attends to one of them. A source of another part of the loop is none of ours.
    pub fn attend(&mut self, source: Source, now: Duration) {
        match source {
            Source::Start(place) => self.take_verdict(place, now),
            Source::Group(place) => self.settle(place, now),
            Source::Notify(place) => self.take_notices(place, now),
            Source::Output(place) => self.take_output(place, now),
            Source::Probe(place) => self.look(place, now, true),
            Source::Signals
            | Source::Button
            | Source::Devices
            | Source::Network
            | Source::Console
            | Source::Control(_) => {}
        }
        self.tell(now);
    }

    /// Takes note of a death. It must not allocate; what follows from it does
    /// [`Services::settle_all`].
    pub fn take_death(&mut self, pid: Pid, exit: Exit) {
        for runner in &mut self.runners {
            let Some(life) = &mut runner.life else { continue };
            if life.pid == pid && life.ended.is_none() {
                life.ended = Some(exit);
                return;
            }
            if life.probe.as_mut().is_some_and(|probe| probe.take_end(pid, exit)) {
                return;
            }
        }
    }

    /// Draws the conclusions from deaths that were noted.
    pub fn settle_all(&mut self, now: Duration) {
        for place in 0..self.runners.len() {
            self.settle(place, now);
            self.look(place, now, true);
        }
        self.tell(now);
    }

    /// Lets time pass: call it in each turn, and at [`Services::next_deadline`].
    pub fn pass_time(&mut self, now: Duration) {
        while let Some((said_at, line)) = console::take_unrecorded() {
            self.journal.note(self.runners.len(), said_at, format_args!("{line}"));
        }
        self.journal.tick(now);
        for place in 0..self.runners.len() {
            self.look(place, now, false);
            self.settle(place, now);
        }
        self.news.push_back(Event::Tick);
        self.tell(now);
        self.show_new_lines();
    }

    /// Once a second: what can wait.
    pub fn tidy(&mut self) {
        self.runners.iter_mut().for_each(Runner::bury);
    }

    /// When something is to be done without anything happening.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let probes = self
            .runners
            .iter()
            .filter_map(|runner| runner.life.as_ref()?.probe.as_ref().map(Probe::deadline));
        let pauses =
            (0..self.runners.len()).filter_map(|place| self.journal.paused_until(place, now));
        let own = [self.supervisor.next_deadline(), self.journal.next_deadline()];
        own.into_iter().flatten().chain(probes).chain(pauses).min()
    }

    /// Stops everything, in order, within this time.
    pub fn shut_down(&mut self, within: Duration, now: Duration) {
        self.news.push_back(Event::Shutdown { within });
        self.tell(now);
    }

    /// An operator's wish; false if there is no such service.
    pub fn wish(&mut self, name: &str, wish: Wish, now: Duration) -> bool {
        let Some(id) = self.supervisor.find(name) else { return false };
        self.news.push_back(Event::Operator(id, wish));
        self.tell(now);
        true
    }

    /// Whether a shutdown is over.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// All services, in the order of their start.
    pub fn status(&self) -> Vec<ServiceStatus> {
        self.supervisor.status()
    }

    /// The process of a service, by its place, while there is one.
    pub fn pid(&self, place: usize) -> Option<Pid> {
        let life = self.runners.get(place)?.life.as_ref()?;
        life.ended.is_none().then_some(life.pid)
    }

    /// What a service last said of itself on its notify socket, made safe to show.
    pub fn status_text(&self, place: usize) -> Option<&str> {
        self.runners.get(place)?.status_text.as_deref()
    }

    /// The same, by the service's name.
    pub fn status_text_of(&self, name: &str) -> Option<&str> {
        self.status_text(self.supervisor.find(name)?.0)
    }

    /// The folder of the cgroup that carries a service's accounts.
    pub fn accounts_folder(&self, name: &str) -> PathBuf {
        self.places.cgroups.join(&self.places.tree_name).join(name)
    }

    /// What services and PID 1 said lately.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the watchdog may be fed, and because of whom not.
    pub fn stale(&self, now: Duration) -> Option<String> {
        if self.supervisor.may_feed_watchdog(now) {
            return None;
        }
        let stale: Vec<&str> = self.supervisor.stale(now).collect();
        Some(if stale.is_empty() { "the loop itself".to_owned() } else { stale.join(", ") })
    }

    /// The desired services that are neither ready nor done, with their states.
    pub fn unready(&self) -> Vec<String> {
        let settled = |state| matches!(state, State::Ready | State::Finished | State::Ended);
        let status = self.status();
        let left = status.iter().filter(|one| one.desired && !settled(one.state));
        left.map(|one| format!("{} ({})", one.name, words::state(one))).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// A service from the TOML table that an overlay's author would write.
    pub(crate) fn service(toml: &str) -> Service {
        let text = format!("command = [\"/bin/true\"]\n{toml}");
        let value: Value = toml::from_str(&text).expect("TOML");
        serde_json::from_value(value).expect("a service")
    }

    #[test]
    fn the_places_of_a_node_are_those_of_the_manual() {
        let places = Places::of_node();
        assert_eq!(places.notify, Path::new("/run/edgepair/notify"));
        assert_eq!(places.cgroups.join(places.tree_name), Path::new("/sys/fs/cgroup/edgepair"));
    }
}
