//! The end of a run, after the services: everything else dies, what must be saved is saved, and no
//! filesystem is left half-written.
//!
//! ```text
//!  SIGTERM to all ─> SIGKILL to all ─> in a child: save, sync, unmount, read-only ─> reboot(2)
//!     3 s at most        3 s at most      20 s at most, then it is left behind
//! ```
//! Whatever a disk or a process does, this ends: the kernel can hold a process that unmounts for
//! ever, but not PID 1, which only waits for it with a deadline. Meanwhile the watchdog is fed, and
//! if even PID 1 should hang here, it no longer is.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Signal, pidfd_send_signal};

use crate::clock;
use crate::console;
use crate::node::Node;
use crate::power::Ending;
use crate::say;
use crate::services::reap;
use crate::state;
use crate::watch::{Source, Watch};

/// How long processes that belong to no service may take to end by themselves.
const TERM_LIMIT: Duration = Duration::from_secs(3);

/// How long killed processes may take to vanish.
const KILL_LIMIT: Duration = Duration::from_secs(3);

/// How long saving and unmounting may take. A state partition on a slow card writes back what is
/// in memory in about ten seconds.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(20);

/// How long a slow console may take for the last lines.
const CONSOLE_LIMIT: Duration = Duration::from_secs(1);

/// Time between two looks at children that die.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Something of the node that outlives it: saved when nothing else runs any more and the state
/// partition is still mounted.
struct Save {
    name: &'static str,
    run: fn(&Node) -> Result<(), String>,
}

/// What is saved, in this order. It runs in a child of PID 1, so it can't change the node, and if
/// it hangs, the node goes down without it.
const SAVES: &[Save] = &[
    Save { name: "the time", run: state::save_clock },
    Save { name: "a random seed", run: state::save_entropy },
];

/// Ends everything but PID 1, and leaves the filesystems as they should be found.
pub(crate) fn finish(node: &mut Node, ending: Ending) {
    for (signal, limit) in [(Signal::TERM, TERM_LIMIT), (Signal::KILL, KILL_LIMIT)] {
        if wait_until_alone(node, Duration::ZERO) {
            break;
        }
        // There may be nobody left to hear it.
        let _nobody = sys::process::signal_all(signal);
        wait_until_alone(node, limit);
    }
    if let Err(error) = save_and_unmount(node) {
        say!("filesystems: {error}");
    }
    match ending {
        // A restart that hangs is cut short by it.
        Ending::Restart => node.watchdog.tend(clock::now(), None),
        Ending::PowerOff => node.watchdog.stop(),
    }
    console::drain(CONSOLE_LIMIT);
}

/// Reaps until PID 1 has no child left, which means that it is alone.
fn wait_until_alone(node: &mut Node, limit: Duration) -> bool {
    let until = clock::now().saturating_add(limit);
    loop {
        while reap(|_, _| {}) {}
        if has_no_child() {
            return true;
        }
        let now = clock::now();
        if now >= until {
            return false;
        }
        node.watchdog.tend(now, None);
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn has_no_child() -> bool {
    let nothing = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    let child = rustix::process::waitid(rustix::process::WaitId::All, nothing);
    matches!(child, Err(rustix::io::Errno::CHILD))
}

fn save_and_unmount(node: &mut Node) -> std::io::Result<()> {
    let (_, pidfd) = sys::process::fork(|| {
        for save in SAVES {
            if let Err(why) = (save.run)(node) {
                say!("can't save {}: {why}", save.name);
            }
        }
        rustix::fs::sync();
        unmount_all();
        console::drain(CONSOLE_LIMIT);
        0
    })?;
    let until = clock::now().saturating_add(UNMOUNT_LIMIT);
    loop {
        let now = clock::now();
        if now >= until {
            say!("filesystems: not clean after {} s; leaving them", UNMOUNT_LIMIT.as_secs());
            return Ok(pidfd_send_signal(&pidfd, Signal::KILL)?);
        }
        node.watchdog.tend(now, None);
        let mut watch = Watch::default();
        watch.add(pidfd.as_fd(), PollFlags::IN, Source::Signals);
        if !watch.wait(until.saturating_sub(now).min(Duration::from_secs(1)))?.is_empty() {
            reap(|_, _| {});
            return Ok(());
        }
    }
}

fn unmount_all() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in to_unmount(&table) {
        if unmount(&point, UnmountFlags::empty()).is_ok() {
            continue;
        }
        // Something still uses it; at least nothing is written to it any more.
        if let Err(errno) = mount_remount(&point, MountFlags::RDONLY, c"") {
            say!("{}: can't be unmounted nor made read-only: {errno}", point.display());
        }
    }
    // The root is read-only already, unless it is something else's, as in a test.
    let _read_only = mount_remount("/", MountFlags::RDONLY, c"");
}

/// The mount points of a mount table that hold something of ours, the latest first.
fn to_unmount(table: &str) -> Vec<PathBuf> {
    /// The kernel's own, and those in memory, which hold nothing that lasts.
    const KEPT: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
    let point = |line: &str| line.split(' ').nth(4).map(|field| PathBuf::from(unescape(field)));
    let is_kept = |point: &PathBuf| {
        let fixed = |kept: &&str| point == Path::new(kept);
        let below = |kept: &&str| *kept != "/run" && point.starts_with(kept);
        point == Path::new("/") || KEPT.iter().any(|kept| fixed(kept) || below(kept))
    };
    let mut points: Vec<PathBuf> =
        table.lines().filter_map(point).filter(|point| !is_kept(point)).collect();
    points.reverse();
    points
}

/// The kernel writes blanks and backslashes of a path in octal, as `\040`.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let code = code.filter(|_| *first == b'\\');
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_mounted_last_is_unmounted_first_and_the_kernels_stays() {
        let table = "\
21 1 254:0 / / ro,nodev shared:1 - ext4 /dev/dm-0 ro\n\
22 21 0:5 / /dev rw - devtmpfs devtmpfs rw\n\
23 22 0:6 / /dev/pts rw - devpts devpts rw\n\
24 21 0:7 / /run rw - tmpfs tmpfs rw\n\
25 21 254:5 / /state rw - ext4 /dev/vda5 rw\n\
26 24 0:9 / /run/pods/a\\040b rw - tmpfs tmpfs rw\n\
27 21 0:10 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let points = to_unmount(table);
        assert_eq!(points, ["/run/pods/a b", "/state"].map(PathBuf::from));
    }

    proptest! {
        #[test]
        fn no_mount_table_panics(table: String, field in "[\\\\0-7a-z]{0,20}") {
            let _points = to_unmount(&table);
            let _text = unescape(&field);
        }
    }
}
