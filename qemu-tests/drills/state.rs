//! Power that goes while a node writes down what it must never forget.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::fault::Stop;
use vdisk::store::Cut;

use crate::PG_WITNESS;
use crate::pg::HEAL_LIMIT;

pub(crate) const FAMILY: Family = Family {
    name: "state",
    about: "Power that goes while a node writes down what it must never forget.",
    drills: &[Entry::new(
        "state_cut_during_write",
        "the standby loses power too while it records that it leads: its record is the old or the \
         new one, never torn, and nothing acknowledged is lost",
        PG_WITNESS,
        state_cut_during_write,
    )
    .within(LIMIT)
    .on_demand()],
};

const LIMIT: Duration = Duration::from_mins(20);
/// So often, each time somewhat later into the promotion.
const CUTS: u64 = 8;
/// From the loss of the primary to the loss of its successor: before it notices, while it records and
/// asks the witness, while PostgreSQL is promoted, and after clients are served again.
const EARLIEST: Duration = Duration::from_millis(600);
const LATER_BY: Duration = Duration::from_millis(350);
/// Nobody serves while both machines boot.
const BUDGET: Duration = LIMIT;

fn state_cut_during_write(t: &mut Drill) -> Result<(), Stop> {
    t.pair_roles()?;
    let clients = t.start_writers()?;
    let mut into = EARLIEST;
    for turn in 0..CUTS {
        let (primary, standby) = t.pair_roles()?;
        let torn = |node: u64| Cut::Torn {
            seed: t.seed.wrapping_mul(CUTS).wrapping_add(turn).wrapping_mul(2).wrapping_add(node),
        };
        let (first, second) = (primary.power_cut_with(torn(0)), standby.power_cut_with(torn(1)));
        let first = t.inject(first)?;
        t.let_pass(into)?;
        let second = t.inject(second)?;
        // Who comes back first must not matter.
        let order = if turn % 2 == 0 { [first, second] } else { [second, first] };
        for off in order {
            t.heal(off)?;
        }
        for node in [primary, standby] {
            t.wait_ready(node)?;
        }
        t.settle_pair(HEAL_LIMIT)?;
        into += LATER_BY;
    }
    t.finish_writers(clients, BUDGET)?;
    t.check(t.single_owner());
    Ok(())
}
