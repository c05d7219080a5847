//! From what an overlay says of a service to what the kernel needs to start it.

use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::process::{Resource, Signal, getrlimit};
use seed::manifest::Service;
use sys::process::{
    Directory, Identity, Program, Resource as Limited, ResourceLimit, Started, Step, start,
};

use super::cgroup::RunGroup;
use super::directory;

const PATH: &str = "PATH=/usr/sbin:/usr/bin";

/// Open files where a service says nothing: programs that use `select` break beyond this number.
const OPEN_FILES_AT_FIRST: u64 = 1024;

/// Programs that know better may raise their limit to this, unless PID 1's own is lower.
pub(crate) const OPEN_FILES_MAX: u64 = 524_288;

/// What doesn't change between the runs of a service.
#[derive(Debug)]
pub(crate) struct Launch {
    command: Vec<CString>,
    environment: Vec<CString>,
    working_directory: CString,
    directories: Vec<Directory>,
    identity: Option<Identity>,
    limits: Vec<ResourceLimit>,
    oom_score: Option<i16>,
    realtime_priority: Option<u8>,
}

impl Launch {
    /// `notify` is the service's socket, if it has one. Without an identity the service has ours,
    /// as in a test that isn't root.
    pub(crate) fn new(
        service: &Service,
        identity: Option<Identity>,
        directories: Vec<Directory>,
        notify: Option<&Path>,
    ) -> Result<Self, NulError> {
        let mut environment = vec![PATH.to_owned()];
        let named = |(name, value): (&String, &String)| format!("{name}={value}");
        environment.extend(service.environment.iter().map(named));
        environment.extend(notify.map(|path| format!("NOTIFY_SOCKET={}", path.display())));
        let folder = service.working_directory.as_ref().map_or("/", |path| path.as_str());
        // Only root may protect a process more than itself.
        let oom_score = identity.as_ref().map(|_| service.limits.oom_score.unwrap_or(0));
        Ok(Self {
            command: texts(&service.command)?,
            environment: texts(&environment)?,
            working_directory: CString::new(folder)?,
            directories,
            limits: limits(service),
            oom_score,
            realtime_priority: service.realtime_priority,
            identity,
        })
    }

    /// Starts the service's program.
    pub(crate) fn start(
        &self,
        group: &RunGroup,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> io::Result<Started> {
        start(&Program {
            command: &self.command,
            directories: &self.directories,
            realtime_priority: self.realtime_priority,
            ..self.program(group, input, output)
        })
    }

    /// Starts another program with the service's rights: a readiness command.
    pub(crate) fn start_other(
        &self,
        command: &[CString],
        group: &RunGroup,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> io::Result<Started> {
        start(&Program { command, ..self.program(group, input, output) })
    }

    /// What every program of the service has.
    fn program<'a>(
        &'a self,
        group: &'a RunGroup,
        input: BorrowedFd<'a>,
        output: BorrowedFd<'a>,
    ) -> Program<'a> {
        Program {
            command: &[],
            directories: &[],
            realtime_priority: None,
            environment: &self.environment,
            working_directory: &self.working_directory,
            input,
            output,
            cgroup: Some(group.directory()),
            identity: self.identity.as_ref(),
            limits: &self.limits,
            oom_score: self.oom_score,
        }
    }
}

fn limits(service: &Service) -> Vec<ResourceLimit> {
    let ours = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES_MAX);
    let most = OPEN_FILES_MAX.min(ours);
    let undeclared = (OPEN_FILES_AT_FIRST.min(most), most);
    let (soft, hard) = service.limits.nofile.map_or(undeclared, |files| (files, files));
    let mut limits = vec![
        ResourceLimit { resource: Limited::OpenFiles, soft, hard },
        // A dump would hold secrets, and fill the disk of a service that crashes in a loop.
        ResourceLimit { resource: Limited::CoreFile, soft: 0, hard: 0 },
    ];
    limits.extend(service.limits.locked_memory.map(|memory| {
        let bytes = memory.get();
        ResourceLimit { resource: Limited::LockedMemory, soft: bytes, hard: bytes }
    }));
    limits
}

/// Words for the kernel.
pub(crate) fn texts(words: &[String]) -> Result<Vec<CString>, NulError> {
    words.iter().map(|word| CString::new(word.as_str())).collect()
}

/// The signal of a name such as `TERM`.
pub(crate) fn signal(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "WINCH" => Signal::WINCH,
        "KILL" => Signal::KILL,
        _ => return None,
    })
}

/// Why a start failed, and the mend.
pub(crate) fn explain(service: &Service, step: Step, place: usize, error: &io::Error) -> String {
    let program = service.command.first().map_or("", String::as_str);
    let user = &service.user;
    match (step, error.kind()) {
        (Step::Exec, io::ErrorKind::NotFound) => format!(
            "can't start {program}: it, or what it is interpreted by, is not in the image; \
             correct the command or add the package to the overlay"
        ),
        (Step::Exec, io::ErrorKind::PermissionDenied) => format!(
            "can't start {program}: {user} may not execute it; correct its mode or the user"
        ),
        (Step::Exec, _) => {
            format!("can't start {program}: {error}; it is no program for this machine")
        }
        (Step::WorkingDirectory, _) => {
            let folder = service.working_directory.as_ref().map_or("/", |path| path.as_str());
            format!("can't start {program} in {folder}: {error}; list it under directories")
        }
        (Step::Directory, _) => directory::explain(service, place, error),
        (Step::Capabilities | Step::Groups | Step::User | Step::NoNewPrivileges, _) => {
            format!("can't start {program} with the rights of {user}: {error}")
        }
        (Step::Limits | Step::OomScore | Step::Scheduler, _) => {
            format!("can't start {program} with its limits: {error}; correct limits or priority")
        }
        (Step::Report | Step::Session | Step::Files | Step::Signals, _) => {
            format!("can't start {program}: {error} ({step:?})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::service;

    #[test]
    fn the_environment_is_what_the_overlay_says_and_two_words_more() {
        let toml = "name = \"p\"\n[environment]\nLANG = \"C.UTF-8\"";
        let launch =
            Launch::new(&service(toml), None, Vec::new(), Some(Path::new("/run/n"))).expect("good");
        let texts: Vec<&str> = launch.environment.iter().flat_map(|text| text.to_str()).collect();
        assert_eq!(texts, [PATH, "LANG=C.UTF-8", "NOTIFY_SOCKET=/run/n"]);
    }

    #[test]
    fn limits_are_always_set_since_ours_would_be_inherited() {
        let open_files = |toml: &str| limits(&service(toml)).first().map(|limit| limit.soft);
        assert_eq!(open_files("name = \"p\""), Some(OPEN_FILES_AT_FIRST));
        assert_eq!(open_files("name = \"p\"\nlimits = { nofile = 10 }"), Some(10));
    }

    #[test]
    fn a_failed_start_names_the_program_and_the_mend() {
        let service = service("name = \"p\"\nuser = \"proxy\"");
        let say = |step, kind: io::ErrorKind| explain(&service, step, 0, &kind.into());
        let missing = say(Step::Exec, io::ErrorKind::NotFound);
        assert!(missing.contains("/bin/true") && missing.contains("package"), "{missing}");
        let refused = say(Step::Exec, io::ErrorKind::PermissionDenied);
        assert!(refused.contains("proxy"), "{refused}");
        let folder = say(Step::WorkingDirectory, io::ErrorKind::NotFound);
        assert!(folder.contains("directories"), "{folder}");
    }

    #[test]
    fn signals_are_known_with_and_without_their_prefix() {
        assert_eq!(signal("QUIT"), Some(Signal::QUIT));
        assert_eq!(signal("SIGINT"), Some(Signal::INT));
        assert_eq!(signal("STOP"), None);
    }
}
