//! One service as the kernel sees it: its pipe, socket and cgroup, and the life of its process.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, pidfd_send_signal};
use seed::manifest::{Ready, Service};
use supervise::{Exit, Run};
use sys::process::{StartReport, Verdict};
use thiserror::Error;

use crate::say;

use super::account::Accounts;
use super::cgroup::{CgroupError, RunGroup, ServiceGroup, Tree};
use super::directory::{self, DirectoryError};
use super::launch::{self, Launch};
use super::notify::NotifySocket;
use super::output::Output;
use super::probe::Probe;

/// Cgroups that couldn't be removed yet. Each waits for a process that hangs in the kernel, and a
/// service with so many of them is beyond help.
const GRAVES_MAX: usize = 16;

#[derive(Debug, Error)]
pub(crate) enum RunnerError {
    #[error(transparent)]
    Account(#[from] super::account::AccountError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("its command or environment has a zero byte: {0}")]
    Text(#[from] std::ffi::NulError),
    #[error("its pipe: {0}")]
    Output(io::Error),
    #[error("its notify socket: {0}")]
    Notify(io::Error),
    #[error("no process can be made for it: {0}")]
    Clone(io::Error),
}

/// What a service keeps over all of its runs.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) service: Service,
    equipment: Option<Equipment>,
    pub(crate) life: Option<Life>,
    /// Groups of earlier runs that are not gone yet.
    graves: Vec<RunGroup>,
    /// The last `STATUS=` of its present run.
    pub(crate) status_text: Option<String>,
    out_of_memory_kills: u64,
}

/// Made at the first start, so that a mistake in one service is that service's failure to start.
#[derive(Debug)]
struct Equipment {
    group: ServiceGroup,
    launch: Launch,
    output: Output,
    notify: Option<NotifySocket>,
}

/// A process, from its birth until it and all of its kin are gone.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) run: Run,
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
    pub(crate) group: RunGroup,
    /// There until it is known whether the program runs.
    pub(crate) start: Option<StartReport>,
    pub(crate) probe: Option<Probe>,
    pub(crate) ended: Option<Exit>,
    /// When to complain that something of it can't be killed.
    pub(crate) complain_at: Option<Duration>,
}

impl Runner {
    pub(crate) fn new(service: Service) -> Self {
        let (equipment, life, status_text) = (None, None, None);
        Self { service, equipment, life, graves: Vec::new(), status_text, out_of_memory_kills: 0 }
    }

    /// Starts the service's process.
    pub(crate) fn start(
        &mut self,
        run: Run,
        surroundings: &Surroundings<'_>,
        input: &OwnedFd,
    ) -> Result<(), RunnerError> {
        use std::os::fd::AsFd;
        self.bury();
        let equipment = match self.equipment.take() {
            Some(equipment) => equipment,
            None => Equipment::new(&self.service, surroundings)?,
        };
        let equipment = self.equipment.insert(equipment);
        let group = equipment.group.run(run.0)?;
        self.out_of_memory_kills = equipment.group.out_of_memory_kills();
        let started = equipment.launch.start(&group, input.as_fd(), equipment.output.writer());
        match started {
            Ok(started) => {
                self.status_text = None;
                self.life = Some(Life {
                    run,
                    pid: started.pid,
                    pidfd: started.pidfd,
                    group,
                    start: Some(started.report),
                    probe: None,
                    ended: None,
                    complain_at: None,
                });
                Ok(())
            }
            Err(error) => {
                self.graves.push(group);
                Err(RunnerError::Clone(error))
            }
        }
    }

    /// Starts the readiness command that the probe wants.
    pub(crate) fn start_probe(&mut self, now: Duration, input: &OwnedFd) {
        use std::os::fd::AsFd;
        let (Some(equipment), Some(life)) = (&self.equipment, &mut self.life) else { return };
        let Some(probe) = &mut life.probe else { return };
        let Some((command, name)) = probe.command() else { return };
        let started = life.group.inner(&name).ok().and_then(|group| {
            let output = equipment.output.writer();
            let started = equipment.launch.start_other(command, &group, input.as_fd(), output);
            Some((started.ok()?, group))
        });
        probe.started(now, started);
    }

    /// Ends the record of a life; its group is removed now or later.
    pub(crate) fn end_life(&mut self) {
        if let Some(life) = self.life.take() {
            self.graves.push(life.group);
        }
        self.bury();
    }

    /// Removes the groups that can be removed.
    pub(crate) fn bury(&mut self) {
        self.graves.retain(|group| {
            // What was born in it meanwhile, by a last fork, dies like the rest.
            let _gone = group.kill();
            group.remove().is_err()
        });
        self.graves.truncate(GRAVES_MAX);
    }

    /// Sends the stop signal, unless the process has ended.
    pub(crate) fn ask_to_stop(&self) -> io::Result<()> {
        let Some(life) = self.life.as_ref().filter(|life| life.ended.is_none()) else {
            return Ok(());
        };
        let signal = launch::signal(&self.service.stop.signal);
        let signal = signal.unwrap_or(rustix::process::Signal::TERM);
        Ok(pidfd_send_signal(&life.pidfd, signal)?)
    }

    /// Whether the kernel killed a process of this run for want of memory.
    pub(crate) fn lacked_memory(&self) -> bool {
        let group = self.equipment.as_ref().map(|equipment| &equipment.group);
        group.is_some_and(|group| group.out_of_memory_kills() > self.out_of_memory_kills)
    }

    pub(crate) fn output(&mut self) -> Option<&mut Output> {
        self.equipment.as_mut().map(|equipment| &mut equipment.output)
    }

    pub(crate) fn output_to_watch(&self) -> Option<&Output> {
        self.equipment.as_ref().map(|equipment| &equipment.output)
    }

    pub(crate) fn notify(&self) -> Option<&NotifySocket> {
        self.equipment.as_ref().and_then(|equipment| equipment.notify.as_ref())
    }
}

impl Life {
    /// Reads how the start went. A process that ended without a word about it had started.
    pub(crate) fn verdict(&mut self) -> Verdict {
        let Some(start) = &mut self.start else { return Verdict::Pending };
        let verdict = match start.read() {
            Verdict::Pending if self.ended.is_some() => Verdict::Running,
            verdict => verdict,
        };
        if !matches!(verdict, Verdict::Pending) {
            self.start = None;
        }
        verdict
    }
}

/// What all services have around them.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) tree: &'a Tree,
    pub(crate) notify_folder: &'a Path,
    /// Whether services get the rights that they declare; else they have ours.
    pub(crate) gives_rights: bool,
}

impl Equipment {
    fn new(service: &Service, surroundings: &Surroundings<'_>) -> Result<Self, RunnerError> {
        let identity = surroundings.accounts.identity(service)?;
        let (user, group) = (identity.user, identity.group);
        // Who is ready without a word may still say how it is.
        let speaks = matches!(service.ready, Ready::Notify | Ready::Running);
        let wants_socket = speaks || service.watchdog.is_some();
        let socket = || {
            let folder = surroundings.notify_folder;
            NotifySocket::bind(folder, service.name.as_str(), user, group)
        };
        let notify = wants_socket.then(socket).transpose().map_err(RunnerError::Notify)?;
        let directories = directory::plan(service, surroundings.accounts)?;
        let identity = surroundings.gives_rights.then_some(identity);
        let path = notify.as_ref().map(|socket| socket.path.as_path());
        let name = service.name.as_str();
        let (cgroup, without) = surroundings.tree.service(name, &service.limits)?;
        for limit in without {
            say!("{name}: runs without a limit: {limit}");
        }
        Ok(Self {
            group: cgroup,
            launch: Launch::new(service, identity, directories, path)?,
            output: Output::new(user, group).map_err(RunnerError::Output)?,
            notify,
        })
    }
}
