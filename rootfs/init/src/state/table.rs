//! The partition table on the disk: brought to what it should be, and the mark of STATE cleared.
//!
//! Which bytes are written in which order is `disk::gpt::rewrite`'s; here they are written, with a
//! sync after each stage. A table that is as it should be is only read.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use disk::gpt::{self, Found, SECTOR_BYTES, Table};
use disk::state::{self, TablePlan};
use disk::{ReadAt, WriteAt};
use sys::block;

use super::device::Device;
use super::{StateFault, place};
use crate::say;

/// STATE on this machine.
#[derive(Debug)]
pub(super) struct StatePartition {
    pub(super) node: PathBuf,
    pub(super) number: u32,
    pub(super) bytes: u64,
    /// There is no filesystem of ours yet.
    pub(super) unmade: bool,
}

/// Repairs the table of a disk, moves its backup to the end, grows STATE, and has the kernel know.
pub(super) fn settle(disk_name: &str) -> Result<StatePartition, StateFault> {
    let path = Path::new("/dev").join(disk_name);
    let mut disk = Device::open(&path)?;
    let found = read(&disk)?;
    let plan = state::plan_table(&found, disk.size() / SECTOR_BYTES)
        .map_err(|source| StateFault::Plan { path: path.clone(), source })?;
    let written = write(&mut disk, &found, &plan.table)?;
    if written > 0 {
        announce(disk_name, &found, &plan);
    }
    let node_failed = |source| StateFault::Device { path: path.clone(), source };
    let node = place::partition_node(disk_name, plan.state.number).map_err(node_failed)?;
    // A table that grew in a run whose power failed is known to the kernel already.
    let bytes = plan.state.size_bytes();
    let known = place::known_sectors(&node).map_err(node_failed)?;
    if known != bytes / SECTOR_BYTES {
        block::resize_partition(disk.as_fd(), plan.state.number, plan.state.offset_bytes(), bytes)
            .map_err(|source| StateFault::Resize { path: node.clone(), source })?;
    }
    let unmade = state::is_unmade(&plan.state);
    Ok(StatePartition { node, number: plan.state.number, bytes, unmade })
}

/// From now on the partition is never formatted again.
pub(super) fn clear_mark(disk_name: &str, number: u32) -> Result<(), StateFault> {
    let mut disk = Device::open(&Path::new("/dev").join(disk_name))?;
    let found = read(&disk)?;
    let made = state::mark_made(&found.table, number);
    write(&mut disk, &found, &made).map(drop)
}

fn read(disk: &Device) -> Result<Found, StateFault> {
    gpt::read(disk).map_err(|source| StateFault::Table { path: disk.path().to_owned(), source })
}

/// Writes what differs; says how many pieces that were.
fn write(disk: &mut Device, found: &Found, wanted: &Table) -> Result<usize, StateFault> {
    let stages = gpt::rewrite(disk, found, wanted)
        .map_err(|source| StateFault::Table { path: disk.path().to_owned(), source })?;
    for stage in &stages {
        for piece in stage {
            let written = disk.write_all_at(piece.offset, &piece.bytes);
            written.map_err(|source| StateFault::Write { path: disk.path().to_owned(), source })?;
        }
        disk.sync()?;
    }
    Ok(stages.iter().map(Vec::len).sum())
}

fn announce(disk: &str, found: &Found, plan: &TablePlan) {
    let size = plan.state.size_bytes() >> 20;
    match &plan.growth {
        Some(growth) => {
            let old = ((growth.old_last_lba + 1 - plan.state.first_lba) * SECTOR_BYTES) >> 20;
            say!("STATE grows with its disk {disk}: {old} MiB become {size} MiB");
        }
        None => say!(
            "partition table of {disk} put right: primary was {}, backup {}",
            found.primary,
            found.backup
        ),
    }
}
