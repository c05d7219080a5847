//! Machines that lose their power, and processes that end.

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{answers, claims, is, yields};
use qemu_tests::rig::fault::Stop;
use vdisk::store::Cut;

use super::{CRASH_BUDGET, HEAL_LIMIT, RESTART_BUDGET, SOLO_BUDGET, shut};

/// How often the power goes, torn writes and all.
const TORN_CUTS: u64 = 20;

pub(crate) fn primary_power_cut(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let cut = t.inject(primary.power_cut())?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.expect("by the standby, which has the address", claims(standby), CRASH_BUDGET)?;
    t.heal(cut)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

pub(crate) fn kill9(t: &mut Drill) -> Result<(), Stop> {
    primary_loses(t, "postgres")
}

pub(crate) fn keeper_kill9(t: &mut Drill) -> Result<(), Stop> {
    primary_loses(t, "pgkeeper")
}

pub(crate) fn standby_power_cut(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let cut = t.inject(standby.power_cut())?;
    t.expect("the primary goes on alone", is(primary, "solo"), SOLO_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), SOLO_BUDGET)?;
    t.heal(cut)?;
    t.wait_ready(standby)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET)?;
    t.check(t.owner_changes(0));
    Ok(())
}

pub(crate) fn freeze_thaw(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let frozen = t.inject(primary.freeze())?;
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.let_pass(t.adverts(8))?;
    t.heal(frozen)?;
    t.expect("the old primary yields the address", yields(primary), t.adverts(1))?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

fn primary_loses(t: &mut Drill, process: &str) -> Result<(), Stop> {
    let (primary, _) = t.pair_roles()?;
    let postmaster = t.read_file(primary, "/state/postgres/data/postmaster.pid")?;
    let postmaster = postmaster.lines().next().unwrap_or_default().to_owned();
    let clients = t.start_writers()?;
    let killed = t.inject(primary.kill9(process))?;
    t.expect("the primary's door is shut", shut(primary), CRASH_BUDGET)?;
    t.mark();
    t.expect("a row is acknowledged again", answers(), RESTART_BUDGET)?;
    // Without a process of this number there is no such file.
    let left = t.read_file(primary, &format!("/proc/{postmaster}/comm")).unwrap_or_default();
    let seen = format!("process {postmaster} is now {left:?}");
    t.assert("nobody is served while the old PostgreSQL is there", left.trim() != "postgres", seen);
    t.heal(killed)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, RESTART_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

/// The power of whoever leads is cut again and again, and each cut tears what was being written.
pub(crate) fn torn_cuts(t: &mut Drill) -> Result<(), Stop> {
    t.pair_roles()?;
    let clients = t.start_writers()?;
    for turn in 0..TORN_CUTS {
        let (primary, standby) = t.pair_roles()?;
        let seed = t.seed.wrapping_mul(TORN_CUTS).wrapping_add(turn);
        let cut = t.inject(primary.power_cut_with(Cut::Torn { seed }))?;
        t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
        t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
        t.heal(cut)?;
        t.wait_ready(primary)?;
        t.settle_pair(HEAL_LIMIT)?;
    }
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}
