//! What a child does between `clone3` and `exec`.
//!
//! The child is a copy of a process that may have had threads and locks, so until `exec` it only
//! makes system calls: it allocates nothing, frees nothing, locks nothing, and can't panic. All
//! memory that it needs was prepared before. User and group are changed by the bare system calls:
//! those of the C library would look for the threads of the parent.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use super::{Directory, Identity, Program, Resource};

/// A step's number, the place in a list that it failed at, two bytes of padding, and the error's
/// number.
pub(super) const RECORD_BYTES: usize = 8;

/// What is known to mean "could not become the program", to shells as to us.
const EXIT_CODE: i32 = 127;
/// Files that a service makes are writable by their owner only, unless it says otherwise.
const UMASK: libc::mode_t = 0o022;
/// Folders on the way to a directory are root's, and everybody may pass.
const FOLDER_MODE: libc::mode_t = 0o755;
/// The kernel's highest signal.
const LAST_SIGNAL: i32 = 64;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// The step at which a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    Report,
    Session,
    Files,
    Signals,
    OomScore,
    Limits,
    Scheduler,
    Directory,
    Capabilities,
    Groups,
    User,
    NoNewPrivileges,
    WorkingDirectory,
    Exec,
}

/// Where it failed: the step, and the place in the step's list, if it has one.
struct Failure(Step, u8);

impl From<Step> for Failure {
    fn from(step: Step) -> Self {
        Self(step, 0)
    }
}

impl Step {
    const ALL: [Self; 14] = [
        Self::Report,
        Self::Session,
        Self::Files,
        Self::Signals,
        Self::OomScore,
        Self::Limits,
        Self::Scheduler,
        Self::Directory,
        Self::Capabilities,
        Self::Groups,
        Self::User,
        Self::NoNewPrivileges,
        Self::WorkingDirectory,
        Self::Exec,
    ];
}

/// Reads the record that a failed child wrote.
pub(super) fn decode(record: [u8; RECORD_BYTES]) -> (Step, u8, i32) {
    let [step, place, _, _, errno @ ..] = record;
    let step = Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Report);
    (step, place, i32::from_ne_bytes(errno))
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Everything that the child needs, in memory that exists before it does.
pub(super) struct Prepared<'a> {
    program: &'a Program<'a>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    oom_score: Option<String>,
    last_capability: u32,
    report: libc::c_int,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(program: &'a Program<'a>, report: libc::c_int) -> io::Result<Self> {
        if program.command.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an empty command"));
        }
        // The standard descriptors are always taken by something in a Rust program; were ours among
        // them, the child would overwrite one with another.
        let lowest = report.min(program.input.as_raw_fd()).min(program.output.as_raw_fd());
        if lowest <= libc::STDERR_FILENO {
            return Err(io::Error::other("a standard descriptor is closed"));
        }
        Ok(Self {
            program,
            arguments: pointers(program.command),
            environment: pointers(program.environment),
            oom_score: program.oom_score.map(|score| score.to_string()),
            last_capability: crate::capabilities::last(),
            report,
        })
    }

    /// Becomes the program; what fails is reported.
    pub(super) fn exec(&self) -> ! {
        let Failure(step, place) = self.prepare().err().unwrap_or(Step::Exec.into());
        if step == Step::Exec {
            // SAFETY: both lists are null-terminated and point to strings that outlive the call.
            unsafe {
                libc::execve(
                    self.arguments.first().copied().unwrap_or(ptr::null()),
                    self.arguments.as_ptr(),
                    self.environment.as_ptr(),
                );
            }
        }
        // SAFETY: reads the number of the error that just occurred.
        let errno = unsafe { *libc::__errno_location() };
        let [a, b, c, d] = errno.to_ne_bytes();
        let record: [u8; RECORD_BYTES] = [step as u8, place, 0, 0, a, b, c, d];
        // SAFETY: the record is as long as said; `_exit` ends the child without anything else.
        unsafe {
            libc::write(self.report, record.as_ptr().cast(), record.len());
            libc::_exit(EXIT_CODE)
        }
    }

    fn prepare(&self) -> Result<(), Failure> {
        // SAFETY: a system call without memory of ours.
        check(Step::Session, unsafe { libc::setsid() })?;
        self.take_files()?;
        reset_signals();
        self.set_oom_score()?;
        self.set_limits()?;
        self.set_scheduler()?;
        for (place, directory) in (0..=u8::MAX).zip(self.program.directories) {
            make_directory(directory).map_err(|step| Failure(step, place))?;
        }
        if let Some(identity) = self.program.identity {
            self.take_identity(identity)?;
        }
        let folder = self.program.working_directory.as_ptr();
        // SAFETY: the path is a C string that outlives the call.
        check(Step::WorkingDirectory, unsafe { libc::chdir(folder) })?;
        Ok(unblock_signals()?)
    }

    fn take_files(&self) -> Result<(), Step> {
        let (input, output) = (self.program.input.as_raw_fd(), self.program.output.as_raw_fd());
        for (from, to) in [
            (input, libc::STDIN_FILENO),
            (output, libc::STDOUT_FILENO),
            (output, libc::STDERR_FILENO),
        ] {
            // SAFETY: a system call on descriptors.
            check(Step::Files, unsafe { libc::dup2(from, to) })?;
        }
        // SAFETY: system calls on descriptors; all but the standard ones close at `exec`.
        unsafe {
            libc::umask(UMASK);
            let flag = libc::CLOSE_RANGE_CLOEXEC;
            check_long(Step::Files, libc::syscall(libc::SYS_close_range, 3, u32::MAX, flag))
        }
    }

    fn set_oom_score(&self) -> Result<(), Step> {
        let Some(text) = &self.oom_score else { return Ok(()) };
        // SAFETY: the path is a C string, the text as long as said; the descriptor is ours.
        unsafe {
            let file =
                libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            check(Step::OomScore, file)?;
            let written = libc::write(file, text.as_ptr().cast(), text.len());
            check(Step::OomScore, if written < 0 { -1 } else { 0 })
        }
    }

    fn set_limits(&self) -> Result<(), Step> {
        for limit in self.program.limits {
            let resource = match limit.resource {
                Resource::OpenFiles => libc::RLIMIT_NOFILE,
                Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
                Resource::CoreFile => libc::RLIMIT_CORE,
            };
            let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
            // SAFETY: `value` is a whole structure that outlives the call.
            check(Step::Limits, unsafe { libc::setrlimit(resource, &raw const value) })?;
        }
        Ok(())
    }

    fn set_scheduler(&self) -> Result<(), Step> {
        let Some(priority) = self.program.realtime_priority else { return Ok(()) };
        // SAFETY: plain data, all zero is valid for every field.
        let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        parameters.sched_priority = i32::from(priority);
        // Without the reset a child of the service, such as a database, would starve the node.
        let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
        // SAFETY: `parameters` is a whole structure that outlives the call; 0 is this process.
        let set = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
        check(Step::Scheduler, set)
    }

    fn take_identity(&self, identity: &Identity) -> Result<(), Step> {
        self.bound_capabilities(identity.capabilities)?;
        let groups = &identity.groups;
        // SAFETY: system calls on numbers, and one list that is as long as said.
        unsafe {
            let set = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr());
            check_long(Step::Groups, set)?;
            let group = identity.group;
            check_long(Step::Groups, libc::syscall(libc::SYS_setresgid, group, group, group))?;
            // Else all capabilities would go with root's number, also those to be kept.
            check(Step::User, libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
            let user = identity.user;
            check_long(Step::User, libc::syscall(libc::SYS_setresuid, user, user, user))?;
        }
        self.keep_capabilities(identity.capabilities)?;
        if identity.no_new_privileges {
            // SAFETY: a system call on numbers.
            let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            check(Step::NoNewPrivileges, set)?;
        }
        Ok(())
    }

    /// What isn't in the bounding set can't be had again, even by root or a setuid program.
    fn bound_capabilities(&self, kept: u64) -> Result<(), Step> {
        for capability in 0..=self.last_capability {
            if kept >> capability & 1 == 0 {
                // SAFETY: a system call on numbers.
                let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
                check(Step::Capabilities, dropped)?;
            }
        }
        Ok(())
    }

    fn keep_capabilities(&self, kept: u64) -> Result<(), Step> {
        let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
        let word = |bits: u64| {
            let [a, b, c, d, ..] = bits.to_le_bytes();
            let bits = u32::from_le_bytes([a, b, c, d]);
            CapabilityWord { effective: bits, permitted: bits, inheritable: bits }
        };
        let words = [word(kept), word(kept >> 32)];
        // SAFETY: header and words are laid out as the kernel's interface version 3 says.
        let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
        check_long(Step::Capabilities, set)?;
        for capability in 0..=self.last_capability {
            if kept >> capability & 1 == 1 {
                // Ambient ones outlive the `exec` of a program that knows nothing of them.
                // SAFETY: a system call on numbers.
                let raised = unsafe {
                    libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0)
                };
                check(Step::Capabilities, raised)?;
            }
        }
        Ok(())
    }
}

/// Makes a directory, or gives the one that is there its owner and mode. A part of the way may belong
/// to a service, which could put a symbolic link there and have root give away the link's target:
/// so the way is walked folder by folder, and no link is followed.
fn make_directory(directory: &Directory) -> Result<(), Step> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let open = |at, part: &CString| {
        // SAFETY: `part` is a C string that outlives the call.
        unsafe { libc::openat(at, part.as_ptr(), flags) }
    };
    // SAFETY: the path is a C string.
    let mut folder = unsafe { libc::open(c"/".as_ptr(), flags) };
    check(Step::Directory, folder)?;
    for part in &directory.parts {
        let mut next = open(folder, part);
        // SAFETY: reads the number of the error of the call above.
        if next < 0 && unsafe { *libc::__errno_location() } == libc::ENOENT {
            // SAFETY: `part` is a C string that outlives the call.
            let made = unsafe { libc::mkdirat(folder, part.as_ptr(), FOLDER_MODE) };
            // Another service that starts at this moment may want it too, and have made it.
            // SAFETY: reads the number of the error of the call above.
            if made == 0 || unsafe { *libc::__errno_location() } != libc::EEXIST {
                check(Step::Directory, made)?;
            }
            next = open(folder, part);
        }
        check(Step::Directory, next)?;
        // SAFETY: the descriptor is ours, and nobody uses it any more.
        unsafe { libc::close(folder) };
        folder = next;
    }
    // SAFETY: system calls on a descriptor of ours and numbers.
    unsafe {
        check(Step::Directory, libc::fchown(folder, directory.user, directory.group))?;
        check(Step::Directory, libc::fchmod(folder, directory.mode))?;
        check(Step::Directory, libc::close(folder))
    }
}

/// Rust ignores SIGPIPE, and ignored signals stay ignored through `exec`. The bare system call also
/// resets the two signals that the C library keeps for itself.
fn reset_signals() {
    // The kernel's `struct sigaction`, no longer than this anywhere: all zero is the default.
    let default = [0_u64; 4];
    let mask_bytes = size_of::<u64>();
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: `default` is as large as the structure that is read; no old one is written.
        unsafe {
            let old = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, mask_bytes);
        }
    }
}

pub(super) fn unblock_signals() -> Result<(), Step> {
    // SAFETY: `sigemptyset` initialises the set, which outlives the second call.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(Step::Signals, libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))
    }
}

fn check(step: Step, result: libc::c_int) -> Result<(), Step> {
    if result < 0 { Err(step) } else { Ok(()) }
}

fn check_long(step: Step, result: libc::c_long) -> Result<(), Step> {
    if result < 0 { Err(step) } else { Ok(()) }
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
