//! Starting a program in its cgroup, with exactly the rights that it was given.
//!
//! ```text
//!  parent: prepare all memory ─> clone3 ─────────────────────────────> poll the report pipe
//!                                  └─> child, in its cgroup already:      ▲          │
//!                                      session, files, limits, rights ────┘ failed   │ end of file:
//!                                      exec ─────────────────── the pipe closes ─────┘ it runs
//! ```
//! `std::process` can't put a child into a cgroup before its first instruction, nor take rights
//! from it. So this does what it does, with the kernel's own calls: between `clone3` and `exec` the
//! child allocates nothing and takes no lock ([`child`]), and whatever fails there comes back
//! through a pipe that a successful `exec` closes.
//!
//! The parent never waits: a program on a disk that hangs would hang PID 1.

mod bound;
mod child;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

pub use bound::{ends_with_us, hears_signals};
pub use child::Step;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, as far as `CLONE_INTO_CGROUP` needs it (its second version).
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A limit of `setrlimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    OpenFiles,
    LockedMemory,
    CoreFile,
}

/// Whose rights a program has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: u32,
    pub group: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Bits of the capabilities that it keeps; all others are gone for good, also for root.
    pub capabilities: u64,
    /// Whether no program that it starts can have more rights, such as by a setuid bit.
    pub no_new_privileges: bool,
}

/// A directory that is there, with its owner and mode, before a program starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The way to it below `/`, folder by folder.
    pub parts: Vec<CString>,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

/// A program, and everything about its start.
#[derive(Debug)]
pub struct Program<'a> {
    /// Program and arguments; the program is an absolute path.
    pub command: &'a [CString],
    /// `NAME=VALUE`, and nothing is inherited beside it.
    pub environment: &'a [CString],
    pub working_directory: &'a CStr,
    /// Made by the child, since they may lie on a disk that hangs.
    pub directories: &'a [Directory],
    pub input: BorrowedFd<'a>,
    /// Where both standard output and standard error go.
    pub output: BorrowedFd<'a>,
    /// The folder of the cgroup that it is born in; ours if absent.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Ours if absent, which only tests without rights want.
    pub identity: Option<&'a Identity>,
    pub limits: &'a [ResourceLimit],
    /// `oom_score_adj`, since PID 1's own would be inherited; kept if absent.
    pub oom_score: Option<i16>,
    /// Priority of the real-time scheduler; its children are normal again.
    pub realtime_priority: Option<u8>,
}

/// A child, which may not have become its program yet.
#[derive(Debug)]
pub struct Started {
    pub pid: Pid,
    /// Names this process even after its end, so that no signal can reach a stranger.
    pub pidfd: OwnedFd,
    pub report: StartReport,
}

/// The pipe through which the child tells how its start went.
#[derive(Debug)]
pub struct StartReport(File);

/// How a start went.
#[derive(Debug)]
pub enum Verdict {
    /// Not known yet.
    Pending,
    /// The program runs, or at least ran.
    Running,
    /// The child ended before it became the program.
    Failed {
        step: Step,
        /// Which of the directories, if it was one.
        place: usize,
        error: io::Error,
    },
}

impl AsFd for StartReport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl StartReport {
    /// Reads what is there, without waiting.
    pub fn read(&mut self) -> Verdict {
        let mut record = [0_u8; child::RECORD_BYTES];
        // A record is written at once and smaller than a pipe's atomic size: it comes whole.
        match self.0.read(&mut record) {
            Ok(0) => Verdict::Running,
            Ok(_) => {
                let (step, place, errno) = child::decode(record);
                let error = io::Error::from_raw_os_error(errno);
                Verdict::Failed { step, place: usize::from(place), error }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Verdict::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Verdict::Pending,
            Err(error) => Verdict::Failed { step: Step::Report, place: 0, error },
        }
    }
}

/// Starts a program. An error here means that there is no child.
pub fn start(program: &Program<'_>) -> io::Result<Started> {
    let (report, of_child) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let prepared = child::Prepared::new(program, of_child.as_raw_fd())?;
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArguments {
        flags: CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArguments::default()
    };
    if let Some(cgroup) = program.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `arguments` is a valid `clone_args` of the size given, and `pidfd` outlives the call.
    // Without CLONE_VM the child has its own copy of our memory and stack, as after `fork`; it runs
    // only `Prepared::exec`, which neither allocates nor locks, and never returns.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArguments>()) };
    if pid == 0 {
        prepared.exec();
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Started { pid, pidfd, report: StartReport(File::from(report)) })
}

/// Runs a function in a child of this process and gives the child's descriptor: for work that may
/// hang in the kernel, such as unmounting, which must not hang PID 1. What the function returns is
/// the child's exit code.
///
/// Refused in a process with threads: the child would have their locks, but not them.
pub fn fork(work: impl FnOnce() -> u8) -> io::Result<(Pid, OwnedFd)> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("this process has threads"));
    }
    // SAFETY: there is one thread, so no lock is held by another and all memory is consistent.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = work();
        // SAFETY: ends the process at once, without running what only the parent may run.
        unsafe { libc::_exit(i32::from(code)) };
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    Ok((pid, pidfd))
}

/// Sends a signal to every process but this one, as only PID 1 wants to.
pub fn signal_all(signal: rustix::process::Signal) -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::other("only PID 1 may signal every process"));
    }
    // SAFETY: a system call on numbers.
    let sent = unsafe { libc::kill(-1, signal.as_raw()) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens `/dev/null` for a program's standard input.
pub fn no_input() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

    use super::*;

    fn texts(words: &[&str]) -> Vec<CString> {
        words.iter().map(|word| CString::new(*word).expect("no zero byte")).collect()
    }

    fn run(command: &[&str], identity: Option<&Identity>) -> (Started, Vec<String>) {
        run_with(command, identity, &[])
    }

    fn run_with(
        command: &[&str],
        identity: Option<&Identity>,
        directories: &[Directory],
    ) -> (Started, Vec<String>) {
        let (command, environment) = (texts(command), texts(&["PATH=/usr/bin:/bin", "A=b"]));
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let input = no_input().expect("/dev/null");
        let limit = ResourceLimit { resource: Resource::OpenFiles, soft: 77, hard: 99 };
        let started = start(&Program {
            command: &command,
            environment: &environment,
            working_directory: c"/tmp",
            directories,
            input: input.as_fd(),
            output: write.as_fd(),
            cgroup: None,
            identity,
            limits: &[limit],
            oom_score: Some(100),
            realtime_priority: None,
        });
        drop(write);
        let lines = BufReader::new(File::from(read)).lines().map_while(Result::ok).collect();
        (started.expect("started"), lines)
    }

    fn ended(started: &Started) -> WaitIdStatus {
        let id = WaitId::PidFd(started.pidfd.as_fd());
        waitid(id, WaitIdOptions::EXITED).expect("waited").expect("ended")
    }

    #[test]
    fn a_program_has_what_it_was_given_and_nothing_else() {
        let script = "env; pwd; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; \
                      ls /proc/self/fd; ps -o sid= -p $$; echo $$; \
                      grep -E 'Sig(Blk|Ign)' /proc/self/status";
        // A descriptor without CLOEXEC must not get through.
        let _leak = rustix::io::dup(no_input().expect("open")).expect("dup");
        let (mut started, lines) = run(&["/bin/sh", "-c", script], None);
        assert_eq!(ended(&started).exit_status(), Some(0), "{lines:?}");
        assert!(matches!(started.report.read(), Verdict::Running));
        let has = |line: &str| lines.iter().any(|other| other.trim() == line);
        assert!(has("A=b") && has("PATH=/usr/bin:/bin") && has("/tmp"), "{lines:?}");
        assert!(has("77") && has("99") && has("100"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("HOME=")), "{lines:?}");
        // 0, 1, 2 and the one with which `ls` reads the folder.
        assert!(has("3") && !has("4") && !has("5"), "{lines:?}");
        let pid = started.pid.as_raw_nonzero().to_string();
        assert_eq!(
            lines.iter().filter(|line| line.trim() == pid).count(),
            2,
            "a session: {lines:?}"
        );
        for line in lines.iter().filter(|line| line.starts_with("Sig")) {
            assert!(line.ends_with("0000000000000000"), "{line}");
        }
    }

    #[test]
    fn a_missing_program_is_reported_with_its_step() {
        let (mut started, _) = run(&["/nonexistent/program"], None);
        assert_eq!(ended(&started).exit_status(), Some(127));
        let Verdict::Failed { step, error, .. } = started.report.read() else {
            panic!("it can't run")
        };
        assert_eq!(step, Step::Exec);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// A directory of our own, below the folder for such.
    fn directory(name: &str, mode: u32) -> Directory {
        let path = std::env::temp_dir().join(format!("sys-test-{}/{name}", std::process::id()));
        let parts: Vec<String> = path.display().to_string().split('/').map(str::to_owned).collect();
        let parts = parts.iter().filter(|part| !part.is_empty());
        Directory {
            parts: parts.map(|part| CString::new(part.as_str()).expect("plain")).collect(),
            mode,
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn directories_are_made_first_and_no_link_is_followed() {
        use std::os::unix::fs::{MetadataExt, symlink};
        let base = std::env::temp_dir().join(format!("sys-test-{}", std::process::id()));
        let command = ["/bin/sh", "-c", "echo started"];
        let (started, lines) = run_with(&command, None, &[directory("own/deep", 0o750)]);
        assert_eq!(ended(&started).exit_status(), Some(0));
        assert_eq!(lines, ["started"]);
        let about = std::fs::metadata(base.join("own/deep")).expect("made");
        assert_eq!(about.mode() & 0o7777, 0o750);
        symlink("/tmp", base.join("link")).expect("linked");
        for way in ["link/x", "link"] {
            let wanted = [directory("own/deep", 0o700), directory(way, 0o700)];
            let (mut started, lines) = run_with(&command, None, &wanted);
            assert_eq!(ended(&started).exit_status(), Some(127));
            assert!(lines.is_empty(), "it must not start: {lines:?}");
            let Verdict::Failed { step, place, error } = started.report.read() else {
                panic!("{way}")
            };
            assert_eq!((step, place), (Step::Directory, 1));
            assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR), "{error}");
        }
        std::fs::remove_dir_all(&base).expect("removed");
    }

    #[test]
    fn rights_are_reduced_to_those_given() {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
            eprintln!("skipped: only root can give and take rights");
            return;
        }
        let net_raw = crate::capabilities::bit("CAP_NET_RAW").expect("known");
        let script = "id -u; id -g; id -G; grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
        let command = ["/bin/sh", "-c", script];
        for user in [0, 65534] {
            let groups = vec![7, 9];
            let identity = Identity {
                user,
                group: 12,
                groups,
                capabilities: net_raw,
                no_new_privileges: true,
            };
            let (started, lines) = run(&command, Some(&identity));
            assert_eq!(ended(&started).exit_status(), Some(0), "{lines:?}");
            assert_eq!(lines[..3], [user.to_string(), "12".into(), "12 7 9".into()]);
            let expected = format!("{net_raw:016x}");
            for set in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
                let line = lines.iter().find(|line| line.starts_with(set)).expect("a set");
                assert!(line.ends_with(&expected), "user {user}: {line}");
            }
            assert!(lines.iter().any(|line| line == "NoNewPrivs:\t1"), "{lines:?}");
        }
    }
}
