//! The ext4 of STATE: made once, checked at every boot, mounted, and grown when its partition grew.
//!
//! **Making it.** The features are named one by one, so that they depend on no configuration file.
//! Beside what every ext4 has there are `metadata_csum` (damage is noticed, and a superblock can be
//! believed), and `64bit`. Blocks are always 4 KiB: for a small partition mke2fs would take 1 KiB,
//! which a database of 8 KiB pages pays for. One per cent is kept for root, so that the agent can
//! still write its few files when services filled the rest; the usual five are 50 GiB of a terabyte.
//!
//! Nothing is left to be initialised later, neither by mke2fs nor by the kernel (`noinit_itable`).
//! A check that begins with a copy of the superblock reads the inode tables to their end, since it
//! can't know how far they are in use; what an earlier life of the disk left there would look like
//! damaged inodes (an old backup of the partition table did). And the disk is quiet once the node
//! is up. The price is paid once: with an inode for each 32 KiB, 8 GiB on a terabyte, which a disk
//! that can't zero by command writes in about a minute.
//!
//! **Checking it.** `e2fsck -p` replays the journal and repairs what needs no decision. Its exit code
//! is a set of bits: 1 and 2 say that it repaired, everything else that it could not. For a bad first
//! superblock it gives up, so it is told a block with a good copy. That may fail at first: where
//! the filesystem was grown while mounted, the copies say that the journal is to be replayed, which
//! e2fsck does, and then wonders to read it again in the copy. It has written the first superblock by
//! then, so it is run once more from there, and looks at everything. Dates are not checked
//! (`/etc/e2fsck.conf`): a clock that stopped is no reason to touch a disk.
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
/// Discarding a large disk and zeroing its inode tables take time: minutes on the slowest.
const MAKE_LIMIT: Duration = Duration::from_mins(20);
/// A whole check of a full terabyte takes minutes. What takes longer than this reads a dying disk.
const CHECK_LIMIT: Duration = Duration::from_mins(30);
/// From the first superblock, from a copy, and from the first one again.
const CHECKS_MAX: usize = 3;

const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
    flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,\
    metadata_csum_seed,orphan_file";
const MAKE: &str = "-q -F -t ext4 -b 4096 -I 256 -i 32768 -m 1 -e remount-ro \
    -E lazy_itable_init=0,lazy_journal_init=0,discard";
const MOUNT_OPTIONS: &std::ffi::CStr = c"errors=remount-ro,data=ordered,commit=5,noinit_itable";

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
    let Ended { code, said } = program::run(&mut mke2fs(node), MAKE_LIMIT)?;
    if code == 0 {
        return Ok(());
    }
    for line in said {
        say!("mke2fs: {line}");
    }
    Err(StateFault::Unmade { path: node.clone(), code })
}

fn mke2fs(node: &Path) -> Command {
    let mut command = Command::new(MKE2FS);
    command.args(MAKE.split_ascii_whitespace()).args(["-O", FEATURES, "-L", STATE_NAME]).arg(node);
    command
}

/// Has e2fsck look at it, from a copy of the superblock if the first one can't be used.
fn check(node: &Path, device: &Device, mut backup: Option<u64>) -> Result<(), StateFault> {
    let mut code = 0;
    // A copy says nothing of how the filesystem was left, nor does what e2fsck makes of it.
    let mut whole = backup.is_some();
    for _ in 0..CHECKS_MAX {
        let verdict;
        (verdict, code) = run_check(node, backup, whole)?;
        let next = match (verdict, backup) {
            (Verdict::Clean | Verdict::Repaired, _) => return Ok(()),
            // The superblock is good, what it leads to is not: copies of that stand with its copies.
            (Verdict::NotOpened, None) => ext4::backup(device).map(Some),
            (Verdict::NotOpened | Verdict::Left, Some(_)) => {
                matches!(ext4::first(device), Ok(ext4::Found::Good(_))).then_some(None)
            }
            (Verdict::Left, None) => None,
        };
        let Some(next) = next else { break };
        backup = next;
        whole = true;
    }
    Err(StateFault::Unrepaired { path: node.to_owned(), code })
}

fn run_check(node: &Path, backup: Option<u64>, whole: bool) -> Result<(Verdict, i32), StateFault> {
    let mut command = Command::new(E2FSCK);
    command.arg("-p").args(whole.then_some("-f"));
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
