//! The mounts of the node: one table for each moment at which they are made.

use std::ffi::CString;
use std::fs;
use std::io;

use rustix::mount::{MountFlags, mount};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum MountError {
    #[error("can't mount {target}: {source}")]
    Mount { target: &'static str, source: io::Error },
    #[error("can't make the mount point {target}: {source}")]
    Point { target: &'static str, source: io::Error },
}

/// One kernel filesystem and where it belongs.
#[derive(Debug)]
pub(crate) struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
}

const NO_SUID: MountFlags = MountFlags::NOSUID;
const NO_EXEC: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);
const DATA_ONLY: MountFlags = NO_EXEC.union(MountFlags::NODEV);

/// What stage 1 needs to see modules, devices and disks. They move along to the real root.
pub(crate) const KERNEL: &[Mount] = &[
    Mount { kind: "devtmpfs", target: "/dev", flags: NO_EXEC, options: "mode=0755" },
    Mount { kind: "proc", target: "/proc", flags: DATA_ONLY, options: "" },
    Mount { kind: "sysfs", target: "/sys", flags: DATA_ONLY, options: "" },
];

/// What the running node adds. Programs run from `/run` in container runtimes, hence no NOEXEC.
pub(crate) const RUNTIME: &[Mount] = &[
    Mount { kind: "tmpfs", target: "/run", flags: RUN, options: "mode=0755,size=20%" },
    Mount { kind: "tmpfs", target: "/tmp", flags: DATA_ONLY, options: "mode=1777,size=20%" },
    Mount { kind: "devpts", target: "/dev/pts", flags: NO_EXEC, options: "mode=0620,gid=5" },
    Mount { kind: "tmpfs", target: "/dev/shm", flags: DATA_ONLY, options: "mode=1777" },
    Mount { kind: "cgroup2", target: "/sys/fs/cgroup", flags: DATA_ONLY, options: "" },
];

const RUN: MountFlags = NO_SUID.union(MountFlags::NODEV);

/// Makes every mount of a table, in its order.
pub(crate) fn make(table: &[Mount]) -> Result<(), MountError> {
    for entry in table {
        let target = entry.target;
        if !fs::exists(target).unwrap_or(false) {
            fs::create_dir_all(target).map_err(|source| MountError::Point { target, source })?;
        }
        let options = CString::new(entry.options).unwrap_or_default();
        mount(entry.kind, target, entry.kind, entry.flags, options.as_c_str())
            .map_err(|errno| MountError::Mount { target, source: errno.into() })?;
    }
    Ok(())
}
