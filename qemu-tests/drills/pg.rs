//! The database pair: no acknowledged row is lost, one node serves, and nobody repairs anything.

use std::time::Duration;

use control::{Answer, PgRequest};
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{answers, claims, is, keeper, yields};
use qemu_tests::rig::fault::{Node, Stop};

use crate::{PG_PAIR, PG_WITNESS};

pub(crate) const FAMILY: Family = Family {
    name: "pg",
    about: "The database pair: no acknowledged row is lost, one node serves, and nobody repairs \
            anything.",
    drills: &[
        Entry::new(
            "pg_primary_power_cut",
            "the primary loses power: the standby acknowledges within the budget, nothing \
             acknowledged is lost, \
             and the old primary comes back as a standby by itself",
            PG_PAIR,
            pg_primary_power_cut,
        )
        .within(LIMIT),
        Entry::new(
            "pg_witness_power_cut",
            "the same with a witness, which decides instead of time windows",
            PG_WITNESS,
            pg_primary_power_cut,
        )
        .on_both()
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_kill9",
            "PostgreSQL is killed on the primary: it comes back or the peer takes over, and \
             nothing is lost",
            PG_PAIR,
            pg_kill9,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_keeper_kill9",
            "the keeper of the primary is killed: its PostgreSQL ends with it, and nothing is lost",
            PG_PAIR,
            pg_keeper_kill9,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_standby_power_cut",
            "the standby loses power: the primary goes on alone once that is certain, and is in \
             sync again later",
            PG_PAIR,
            pg_standby_power_cut,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_switchover",
            "a planned hand-over loses nothing, and the other node serves",
            PG_PAIR,
            pg_switchover,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_freeze_thaw",
            "a primary that was frozen past its successor's promotion acknowledges nothing when \
             it thaws",
            PG_WITNESS,
            pg_freeze_thaw,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_isolated_primary",
            "a primary that nobody hears stops, its standby serves, and the two are one pair \
             again afterwards",
            PG_PAIR,
            pg_isolated_primary,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_disk_eio",
            "a primary whose disk breaks gives up, and its standby takes over",
            PG_WITNESS,
            pg_disk_eio,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "pg_fs_full",
            "a primary without room for its data hands over, and recovers when there is room again",
            PG_PAIR,
            pg_fs_full,
        )
        .within(LIMIT)
        .on_demand(),
    ],
};

/// Forming a pair takes most of it.
const LIMIT: Duration = Duration::from_mins(6);
/// From a crash of the primary to the next acknowledged row. Emulated processors are some seven
/// times slower than real ones, and three machines share two of those: a promotion that takes a
/// tenth of a second elsewhere takes a whole one here, and so does a client's log-in.
const CRASH_BUDGET: Duration = Duration::from_secs(6);
/// Without a witness a primary goes on alone five seconds after it lost its peer.
const SOLO_BUDGET: Duration = Duration::from_secs(10);
/// A clean stop, a promotion and a log-in, one after the other, and emulated.
const HAND_OVER_BUDGET: Duration = Duration::from_secs(4);
/// A boot, a rewind or a copy, and the hold-down.
const HEAL_LIMIT: Duration = Duration::from_mins(3);

fn pg_primary_power_cut(t: &mut Drill) -> Result<(), Stop> {
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

fn pg_kill9(t: &mut Drill) -> Result<(), Stop> {
    primary_loses(t, "postgres")
}

fn pg_keeper_kill9(t: &mut Drill) -> Result<(), Stop> {
    primary_loses(t, "pgkeeper")
}

fn primary_loses(t: &mut Drill, process: &str) -> Result<(), Stop> {
    let (primary, _) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let killed = t.inject(primary.kill9(process))?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(killed)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

fn pg_standby_power_cut(t: &mut Drill) -> Result<(), Stop> {
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

fn pg_switchover(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    t.mark();
    let answer = t.order(primary, PgRequest::Switchover)?;
    t.assert("the order is accepted", answer == Answer::Accepted, format!("{answer:?}"));
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("the old primary says nothing any more", yields(primary), CRASH_BUDGET)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, HAND_OVER_BUDGET)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

fn pg_freeze_thaw(t: &mut Drill) -> Result<(), Stop> {
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

fn pg_isolated_primary(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let hole = t.inject(primary.black_hole())?;
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.expect("the old primary's door is shut", shut(primary), CRASH_BUDGET)?;
    t.heal(hole)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

fn pg_disk_eio(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    t.excuse("I/O error");
    t.excuse("error");
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

fn pg_fs_full(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let full = t.inject(primary.fill_state())?;
    t.expect("the standby leads", leads(standby), SOLO_BUDGET)?;
    t.heal(full)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

fn shut(node: Node) -> qemu_tests::rig::expect::Condition {
    keeper(node, |status| !status.gate_open)
}

fn leads(node: Node) -> qemu_tests::rig::expect::Condition {
    keeper(node, |status| status.gate_open)
}
