//! The mounts of the node: one table for each moment at which they are made.
//!
//! What is not here, and why:
//!
//! - `hidepid` on `/proc`: the node's users are its own services. Monitoring agents run in
//!   containers as users of their own and read the host's `/proc`; hiding it would only break them.
//! - `mqueue`, `hugetlbfs`: container runtimes mount their own, and PostgreSQL maps huge pages
//!   without a filesystem.
//! - `debugfs`, `configfs`, `binfmt_misc`, `fusectl`: nobody uses them, and each is a way in.
//! - `tracefs`: in images with a shell only.

use std::ffi::CString;
use std::fs;
use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum MountError {
    #[error("can't mount {target}: {source}")]
    Mount { target: &'static str, source: io::Error },
    #[error("can't make the mount point {target}: {source}")]
    Point { target: &'static str, source: io::Error },
    #[error("can't share mounts with containers: {0}")]
    Share(io::Error),
}

/// One kernel filesystem and where it belongs.
#[derive(Debug)]
pub(crate) struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
    need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Must,
    /// A kernel or a machine without it does without.
    Where,
}

const NO_SUID: MountFlags = MountFlags::NOSUID;
const NO_EXEC: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);
const DATA_ONLY: MountFlags = NO_EXEC.union(MountFlags::NODEV);
const READ_ONLY: MountFlags = DATA_ONLY.union(MountFlags::RDONLY);
/// Programs run from `/run` in container runtimes, hence no NOEXEC.
const RUN: MountFlags = NO_SUID.union(MountFlags::NODEV);

const fn must(
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
) -> Mount {
    Mount { kind, target, flags, options, need: Need::Must }
}

const fn where_it_is(
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
) -> Mount {
    Mount { kind, target, flags, options, need: Need::Where }
}

/// What stage 1 needs to see modules, devices and disks. They move along to the real root.
pub(crate) const KERNEL: &[Mount] = &[
    must("devtmpfs", "/dev", NO_EXEC, "mode=0755"),
    must("proc", "/proc", DATA_ONLY, ""),
    must("sysfs", "/sys", DATA_ONLY, ""),
];

/// What the running node adds. No filesystem in memory may take more than its share, so that a
/// service which fills one meets an error and not the whole node the OOM killer.
///
/// - A container with a cgroup namespace is fenced in at its own root (`nsdelegate`), and memory
///   that is protected for a service is protected for what runs below it (`memory_recursiveprot`).
/// - securityfs is where container runtimes look for `AppArmor`, bpffs where network plugins pin.
/// - Firmware variables are for reading; whoever changes one makes them writable for the moment.
pub(crate) const RUNTIME: &[Mount] = &[
    must("tmpfs", "/run", RUN, "mode=0755,size=20%"),
    must("tmpfs", "/tmp", DATA_ONLY, "mode=1777,size=20%"),
    must("devpts", "/dev/pts", NO_EXEC, "mode=0620,gid=5,ptmxmode=0666"),
    must("tmpfs", "/dev/shm", DATA_ONLY, "mode=1777,size=25%"),
    must("cgroup2", "/sys/fs/cgroup", DATA_ONLY, "nsdelegate,memory_recursiveprot"),
    where_it_is("securityfs", "/sys/kernel/security", DATA_ONLY, ""),
    where_it_is("bpf", "/sys/fs/bpf", DATA_ONLY, "mode=0700"),
    where_it_is("efivarfs", "/sys/firmware/efi/efivars", READ_ONLY, ""),
];

/// What an image with a shell has beside that.
pub(crate) const DEBUG: &[Mount] =
    &[where_it_is("tracefs", "/sys/kernel/tracing", DATA_ONLY, "mode=0700")];

/// Makes every mount of a table, in its order.
pub(crate) fn make(table: &[Mount]) -> Result<(), MountError> {
    for entry in table {
        let target = entry.target;
        let there = fs::exists(target).unwrap_or(false);
        match entry.need {
            Need::Must if !there => {
                fs::create_dir_all(target)
                    .map_err(|source| MountError::Point { target, source })?;
            }
            // The kernel makes these mount points itself where it has the filesystem.
            Need::Where if !there => continue,
            Need::Must | Need::Where => {}
        }
        let options = CString::new(entry.options).unwrap_or_default();
        let made = mount(entry.kind, target, entry.kind, entry.flags, options.as_c_str());
        if let Err(errno) = made
            && entry.need == Need::Must
        {
            return Err(MountError::Mount { target, source: errno.into() });
        }
    }
    Ok(())
}

/// Lets mounts spread between the host and containers that ask for it: the kubelet insists on it.
pub(crate) fn share_all() -> Result<(), MountError> {
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).map_err(|errno| MountError::Share(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_stands_below_those_that_come_before_it_and_every_memory_one_is_bounded() {
        let all: Vec<&Mount> = [KERNEL, RUNTIME, DEBUG].into_iter().flatten().collect();
        for (position, entry) in all.iter().enumerate() {
            let hides = |other: &&&Mount| other.target.starts_with(&format!("{}/", entry.target));
            assert!(!all[..position].iter().any(|other| hides(&other)), "{}", entry.target);
            assert!(entry.flags.contains(MountFlags::NOSUID), "{}", entry.target);
            assert!(entry.kind != "tmpfs" || entry.options.contains("size="), "{}", entry.target);
        }
    }
}
