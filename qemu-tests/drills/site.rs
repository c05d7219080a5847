//! The whole site: power that comes back in a bad order, new hardware, clocks, a lost witness.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{answers, claims, is};
use qemu_tests::rig::fault::{Fault, Node, Stop};
use vdisk::store::Cut;
use vswitch::random::Random;
use vswitch::rule::Pick;

use crate::pg::{
    CRASH_BUDGET, HEAL_LIMIT, LIMIT, LONG_ENOUGH, SOLO_BUDGET, Stale, leave_the_stale_one,
};
use crate::{PG_PAIR, PG_WITNESS};

pub(crate) const FAMILY: Family = Family {
    name: "site",
    about: "The whole site: power that comes back in a bad order, new hardware, clocks, a lost \
            witness.",
    drills: &[
        Entry::new(
            "site_stale_first",
            "after a power failure of the site the node that missed the last rows never serves \
             alone",
            PG_PAIR,
            site_stale_first,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "site_node_replaced",
            "a node with a blank disk and its old seed becomes the standby by itself",
            PG_PAIR,
            site_node_replaced,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "site_clock_steps",
            "a clock that jumps forward and back moves nobody and stops no writes",
            PG_PAIR,
            site_clock_steps,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "site_witness_lost",
            "while the pair is in sync, the loss of the witness changes nothing",
            PG_WITNESS,
            site_witness_lost,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "site_witness_and_primary_lost",
            "without witness and primary the standby doesn't promote, and serves once the \
             witness is back",
            PG_WITNESS,
            site_witness_and_primary_lost,
        )
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "site_rtc_dead",
            "two machines whose clocks start in 1970 form a pair that serves",
            PG_PAIR,
            site_rtc_dead,
        )
        .from_off()
        .within(LIMIT)
        .on_demand(),
        Entry::new(
            "site_soak_swarm",
            "whatever goes wrong, one thing after the other, nothing acknowledged is lost and the \
             pair is whole each time",
            PG_WITNESS,
            site_soak_swarm,
        )
        .within(SOAK_LIMIT)
        .on_demand(),
    ],
};

const HOUR: i64 = 3600;
/// A date before any that this software has seen.
const DEAD_CLOCK: &str = "1970-01-01";
/// So many faults in a soak; `--repeat` and `--seed` give others.
const FAULTS_OF_SOAK: u32 = 12;
const SOAK_LIMIT: Duration = Duration::from_mins(40);
/// How long a fault of a soak lasts: from too short to be noticed to longer than any window.
const SHORTEST_MS: u64 = 200;
const LONGEST_MS: u64 = 15_000;
/// A pair that loses sync again sooner than this is held down for twice as long each time, up to five
/// minutes: that is about sites that flap, and this drill isn't.
const NO_FLAP: Duration = Duration::from_secs(17);
/// What a steady pair may take for a row on a busy desk.
const STEADY_BUDGET: Duration = Duration::from_secs(2);

fn site_stale_first(t: &mut Drill) -> Result<(), Stop> {
    let Stale { primary, standby, primary_off, clients } = leave_the_stale_one(t)?;
    let address = t.vip()?.address;
    let holds = t.holds(standby, address)?;
    t.assert("nor does it have the address", !holds, format!("it has it: {holds}"));
    t.heal(primary_off)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, LIMIT)?;
    t.check(t.single_owner());
    Ok(())
}

fn site_node_replaced(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let off = t.inject(standby.power_cut())?;
    t.expect("the primary goes on alone", is(primary, "solo"), SOLO_BUDGET)?;
    t.machine(standby)?.replace()?;
    t.heal(off)?;
    t.wait_ready(standby)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET)?;
    t.check(t.owner_changes(0));
    Ok(())
}

fn site_clock_steps(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    for (node, seconds) in [(primary, HOUR), (standby, -HOUR)] {
        let stepped = t.inject(Fault::StepClock(node, seconds))?;
        t.let_pass(t.adverts(12))?;
        t.heal(stepped)?;
        t.let_pass(t.adverts(12))?;
    }
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, STEADY_BUDGET)?;
    t.check(t.owner_changes(0));
    Ok(())
}

fn site_witness_lost(t: &mut Drill) -> Result<(), Stop> {
    t.pair_roles()?;
    let witness = t.node("witness")?;
    let clients = t.start_writers()?;
    let off = t.inject(witness.power_cut())?;
    t.let_pass(LONG_ENOUGH)?;
    t.heal(off)?;
    t.wait_ready(witness)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, STEADY_BUDGET)?;
    t.check(t.owner_changes(0));
    Ok(())
}

fn site_witness_and_primary_lost(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let witness = t.node("witness")?;
    let clients = t.start_writers()?;
    let witness_off = t.inject(witness.power_cut())?;
    let primary_off = t.inject(primary.power_cut())?;
    let opens = t.gate_opens_within(standby, LONG_ENOUGH)?;
    t.assert("without a voter the standby serves nobody", !opens, format!("gate opens: {opens}"));
    t.heal(witness_off)?;
    t.wait_ready(witness)?;
    t.mark();
    t.expect("with the witness it serves", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(primary_off)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, LIMIT)?;
    t.check(t.single_owner());
    Ok(())
}

fn site_rtc_dead(t: &mut Drill) -> Result<(), Stop> {
    for node in t.nodes() {
        t.machine(node)?.boot_at(DEAD_CLOCK);
        t.start(node)?;
    }
    for node in t.nodes() {
        t.wait_ready(node)?;
    }
    t.pair_roles()?;
    let clients = t.start_writers()?;
    t.let_pass(t.adverts(20))?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, STEADY_BUDGET)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(0));
    Ok(())
}

fn site_soak_swarm(t: &mut Drill) -> Result<(), Stop> {
    t.pair_roles()?;
    let clients = t.start_writers()?;
    let mut dice = Random::new(t.seed);
    for _ in 0..FAULTS_OF_SOAK {
        let nodes = t.nodes();
        let place = usize::try_from(dice.below(nodes.len() as u64)).unwrap_or_default();
        let node = nodes.get(place).copied().unwrap_or(Node(0));
        let (fault, restarts) = any_fault(node, &mut dice);
        let injected = t.inject(fault)?;
        let lasts = SHORTEST_MS + dice.below(LONGEST_MS - SHORTEST_MS);
        t.let_pass(Duration::from_millis(lasts))?;
        t.heal(injected)?;
        if restarts {
            t.wait_ready(node)?;
        }
        t.settle_pair(HEAL_LIMIT)?;
        t.mark();
        t.expect("a row is acknowledged again", answers(), SOLO_BUDGET)?;
        t.let_pass(NO_FLAP)?;
    }
    t.finish_writers(clients, SOAK_LIMIT)?;
    t.check(t.single_owner());
    Ok(())
}

/// Something that goes wrong with a node, and whether it boots anew because of it.
fn any_fault(node: Node, dice: &mut Random) -> (Fault, bool) {
    let seed = dice.number();
    match dice.below(8) {
        0 => (node.power_cut(), true),
        1 => (node.power_cut_with(Cut::Torn { seed }), true),
        2 => (node.freeze(), false),
        3 => (node.stall(), false),
        4 => (node.unplug(), false),
        5 => (node.black_hole(), false),
        6 => (node.disk_stall(), false),
        _ => (Fault::loss_of(Pick::Everything, 200), false),
    }
}
