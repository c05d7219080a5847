//! Three of the four tests of the user's own document for two nodes, by its names, for the database
//! alone, and a planned switchover. The document lists what is tested by hand after an installation;
//! here it is drilled. Its fourth, workloads that move to the healthy node, needs K3s.

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{answers, claims, is, yields};
use qemu_tests::rig::fault::Stop;

use crate::PG_PAIR;
use crate::pg::{CRASH_BUDGET, HEAL_LIMIT, LIMIT, SOLO_BUDGET, orders};

pub(crate) const FAMILY: Family = Family {
    name: "seed000",
    about: "Three of the four tests of the user's own document for two nodes, by its names, for the \
            database alone, and a planned switchover. The fourth, workloads that move, needs K3s.",
    drills: &[
        Entry::new(
            "seed000_datastore_is_resilient",
            "datastore resilient to node failure: each node is lost in turn, and every acknowledged \
             row is there",
            PG_PAIR,
            datastore_is_resilient,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "seed000_failover_is_transparent",
            "failover transparent to clients: who only knows the address goes on, with no other \
             server to ask and nothing to repair",
            PG_PAIR,
            failover_is_transparent,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "seed000_no_split_brain",
            "split-brain prevented when the failed node recovers: it never serves, has no address, \
             and rejoins by itself",
            PG_PAIR,
            no_split_brain,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "seed000_planned_switchover",
            "a planned switchover loses nothing, and the other node serves",
            PG_PAIR,
            orders::switchover,
        )
        .within(LIMIT)
        .on_demand(),
    ],
};

fn datastore_is_resilient(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let first = t.inject(standby.power_cut())?;
    t.expect("the primary goes on alone", is(primary, "solo"), SOLO_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), SOLO_BUDGET)?;
    t.heal(first)?;
    t.wait_ready(standby)?;
    t.settle_pair(HEAL_LIMIT)?;
    let second = t.inject(primary.power_cut())?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(second)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}

fn failover_is_transparent(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let cut = t.inject(primary.power_cut())?;
    t.expect("the address is the standby's", claims(standby), CRASH_BUDGET)?;
    t.expect("the same clients are answered there", answers(), CRASH_BUDGET)?;
    // They go on as long as nobody has repaired anything.
    t.let_pass(t.adverts(20))?;
    t.mark();
    t.expect("and go on to be", answers(), t.adverts(4))?;
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.heal(cut)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

fn no_split_brain(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let cut = t.inject(primary.power_cut())?;
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(cut)?;
    t.wait_ready(primary)?;
    t.mark();
    t.expect("the failed node doesn't claim the address", yields(primary), t.adverts(0))?;
    let open = t.gate_is_open(primary)?;
    t.assert("nor does it let clients in", !open, format!("its gate is open: {open}"));
    t.settle_pair(HEAL_LIMIT)?;
    let (leader, _) = t.pair_roles()?;
    t.assert("it follows", leader == standby, format!("{} leads", t.name(leader)));
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}
