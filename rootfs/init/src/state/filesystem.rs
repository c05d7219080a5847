//! The ext4 of STATE: made once, checked at every boot, mounted, and grown when its partition grew.
//!
//! **Making it.** The features are named one by one, so that they depend on no configuration file.
//! Beside what every ext4 has there are `metadata_csum` (damage is noticed, and a superblock can be
//! believed), and `64bit`. Blocks are always 4 KiB: for a small partition mke2fs would take 1 KiB,
//! which a database of 8 KiB pages pays for. Inode tables are written lazily, by the kernel after
//! the mount: on a terabyte they are 16 GiB, and their checksums make it safe. The journal is written
//! at once, because what is left in it of a former filesystem could be taken for its own. One per
//! cent is kept for root, so that the agent can still write its few files when services filled the
//! rest; the usual five are 50 GiB of a terabyte.
//!
//! **Checking it.** `e2fsck -p` replays the journal and repairs what needs no decision. Its exit code
//! is a set of bits: 1 and 2 say that it repaired, everything else that it could not. For a bad first
//! superblock it gives up by itself, so it is told a block with a good copy. Dates are not checked
//! (`/etc/e2fsck.conf`), since a node whose clock stopped is no reason to touch its disk.
//!
//! **Growing it** is asked of the kernel, once mounted, instead of resize2fs: that would want a whole
//! check of the unmounted filesystem first, and does the same by the same ioctl if it is mounted.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use disk::ext4;
use disk::state::{self, STATE_NAME, Treatment};
use rustix::fs::statvfs;
use seed::manifest::STATE_PATH;

use super::device::Device;
use super::program::{self, Ended};
use super::table::{self, StatePartition};
use super::{StateFault, folders};
use crate::say;

const MKE2FS: &str = "/usr/sbin/mke2fs";
const E2FSCK: &str = "/usr/sbin/e2fsck";
/// Discarding a large disk is what takes time; a slow card needs a minute or two.
const MAKE_LIMIT: Duration = Duration::from_mins(10);
/// A whole check of a full terabyte takes minutes. What takes longer than this reads a dying disk.
const CHECK_LIMIT: Duration = Duration::from_mins(30);

const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
    flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,\
    metadata_csum_seed,orphan_file";
const MAKE: &[&str] = &[
    "-q",
    "-F",
    "-t",
    "ext4",
    "-b",
    "4096",
    "-I",
    "256",
    "-m",
    "1",
    "-e",
    "remount-ro",
    "-E",
    "lazy_itable_init=1,lazy_journal_init=0,discard",
    "-O",
    FEATURES,
    "-L",
    STATE_NAME,
];
const MOUNT_OPTIONS: &std::ffi::CStr = c"errors=remount-ro,data=ordered,commit=5";

/// What e2fsck says with its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    Repaired,
    /// It could not even begin: there may be a better superblock.
    NotOpened,
    /// It found what it may not decide, was cancelled, or was called in a wrong way.
    Left,
}

impl Verdict {
    fn of(code: i32) -> Self {
        match code {
            0 => Self::Clean,
            1..=3 => Self::Repaired,
            8 => Self::NotOpened,
            _ => Self::Left,
        }
    }
}

/// Leaves a filesystem that can be mounted, or says why there can't be one.
pub(super) fn make_or_check(disk: &str, partition: &StatePartition) -> Result<(), StateFault> {
    let node = &partition.node;
    let device = Device::open(node)?;
    let first = ext4::first(&device)
        .map_err(|source| StateFault::Superblock { path: node.clone(), source })?;
    match state::plan_filesystem(partition.unmade, &first, || ext4::backup(&device)) {
        Treatment::Make => make(partition)?,
        Treatment::Check { backup } => check(node, &device, backup)?,
        Treatment::Refuse(source) => {
            return Err(StateFault::Refused { path: node.clone(), source });
        }
    }
    if partition.unmade {
        // The filesystem is on stable storage before the mark says so, and nothing is in it yet.
        device.sync()?;
        table::clear_mark(disk, partition.number)?;
    }
    Ok(())
}

fn make(partition: &StatePartition) -> Result<(), StateFault> {
    let node = &partition.node;
    say!("STATE is made: ext4 on {}, {} MiB", node.display(), partition.bytes >> 20);
    let Ended { code, said } = program::run(Command::new(MKE2FS).args(MAKE).arg(node), MAKE_LIMIT)?;
    if code == 0 {
        return Ok(());
    }
    for line in said {
        say!("mke2fs: {line}");
    }
    Err(StateFault::Unmade { path: node.clone(), code })
}

/// Has e2fsck look at it, from a copy of the superblock if the first one can't be used.
fn check(node: &Path, device: &Device, backup: Option<u64>) -> Result<(), StateFault> {
    let (mut verdict, mut code) = run_check(node, backup)?;
    if verdict == Verdict::NotOpened && backup.is_none() {
        // The superblock is good, what it leads to is not: copies of that stand with its copies.
        if let Some(block) = ext4::backup(device) {
            (verdict, code) = run_check(node, Some(block))?;
        }
    }
    match verdict {
        Verdict::Clean | Verdict::Repaired => Ok(()),
        Verdict::NotOpened | Verdict::Left => {
            Err(StateFault::Unrepaired { path: node.to_owned(), code })
        }
    }
}

fn run_check(node: &Path, backup: Option<u64>) -> Result<(Verdict, i32), StateFault> {
    let mut command = Command::new(E2FSCK);
    command.arg("-p");
    if let Some(block) = backup {
        say!("STATE has a bad superblock; its copy in block {block} is used");
        command.arg("-b").arg(block.to_string()).arg("-B").arg(ext4::BLOCK_BYTES.to_string());
    }
    let Ended { code, said } = program::run(command.arg(node), CHECK_LIMIT)?;
    let verdict = Verdict::of(code);
    if verdict != Verdict::Clean {
        for line in said {
            say!("e2fsck: {line}");
        }
    }
    Ok((verdict, code))
}

/// Mounts it, and has the kernel grow it to the size of its partition.
pub(super) fn mount(partition: &StatePartition) -> Result<(), StateFault> {
    let node = &partition.node;
    let fail = |source: io::Error| StateFault::Mount { path: node.clone(), source };
    let flags = folders::TIGHT;
    rustix::mount::mount(node, STATE_PATH, "ext4", flags, MOUNT_OPTIONS)
        .map_err(|errno| fail(errno.into()))?;
    let blocks = || statvfs(STATE_PATH).map(|statistics| statistics.f_blocks);
    let before = blocks().map_err(|errno| fail(errno.into()))?;
    // One that is as large as it can be is left as it is by the kernel.
    let folder = File::open(STATE_PATH).map_err(fail)?;
    if let Err(error) = sys::ext4::grow(folder.as_fd(), partition.bytes / ext4::BLOCK_BYTES) {
        say!("STATE does not grow: {error}; it is used with the size that it has");
    }
    if blocks().is_ok_and(|after| after > before) {
        say!("STATE grew to {} MiB", partition.bytes >> 20);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_code_of_e2fsck_has_its_meaning() {
        let wanted = [
            (0, Verdict::Clean),
            (1, Verdict::Repaired),
            (2, Verdict::Repaired),
            (3, Verdict::Repaired),
            (4, Verdict::Left),
            (5, Verdict::Left),
            (8, Verdict::NotOpened),
            (12, Verdict::Left),
            (16, Verdict::Left),
            (32, Verdict::Left),
            (128, Verdict::Left),
        ];
        for (code, verdict) in wanted {
            assert_eq!(Verdict::of(code), verdict, "{code}");
        }
    }
}
