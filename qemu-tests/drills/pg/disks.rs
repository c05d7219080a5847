//! Disks that break, stand still, or have no room.

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{answers, claims};
use qemu_tests::rig::fault::Stop;

use super::{HEAL_LIMIT, SOLO_BUDGET, leads};

pub(crate) fn disk_eio(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    t.excuse("I/O error");
    t.excuse("error");
    t.excuse("Remounting filesystem read-only");
    let clients = t.start_writers()?;
    let broken = t.inject(primary.disk_broken())?;
    t.expect("the standby has the address", claims(standby), SOLO_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), SOLO_BUDGET)?;
    t.heal(broken)?;
    let off = t.inject(primary.power_cut())?;
    t.heal(off)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

pub(crate) fn fs_full(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let full = t.inject(primary.fill_state())?;
    // It takes a while to fill a disk, and it isn't full before.
    t.mark();
    t.expect("the standby leads", leads(standby), SOLO_BUDGET)?;
    t.heal(full)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

/// A disk that answers nothing, neither well nor badly.
pub(crate) fn disk_stall(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    // The kernel tells of tasks that wait, which they do.
    t.excuse("blocked for more than");
    t.excuse("timed out");
    let clients = t.start_writers()?;
    let stalled = t.inject(primary.disk_stall())?;
    t.expect("the standby has the address", claims(standby), SOLO_BUDGET * 2)?;
    t.expect("a row is acknowledged again", answers(), SOLO_BUDGET * 2)?;
    t.heal(stalled)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET * 2)?;
    t.check(t.single_owner());
    Ok(())
}
