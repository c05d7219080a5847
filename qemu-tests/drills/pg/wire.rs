//! Networks that come apart.

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{answers, claims};
use qemu_tests::rig::fault::{Fault, Node, Stop};
use vswitch::random::Random;
use vswitch::rule::{Effect, Rule};

use super::{CRASH_BUDGET, HEAL_LIMIT, SOLO_BUDGET, shut};

/// Whoever goes on alone takes an epoch, and the pair that is in sync again another; each side has every
/// other number for itself.
const EPOCHS_OF_SWIZZLE: u64 = 4;

pub(crate) fn isolated_primary(t: &mut Drill) -> Result<(), Stop> {
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

/// The primary still reaches its clients, and nobody else: neither its standby nor the witness.
pub(crate) fn client_side_partition(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let witness = t.node("witness")?;
    let clients = t.start_writers()?;
    let cut =
        t.inject(apart("the primary is alone with its clients", t, primary, &[standby, witness]))?;
    t.expect("the primary's door is shut", shut(primary), CRASH_BUDGET)?;
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(cut)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, CRASH_BUDGET)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

/// All ways between the machines are cut one after the other, and come back in another order.
pub(crate) fn swizzle(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let before = t.keeper(primary).map_or(0, |status| status.epoch);
    let clients = t.start_writers()?;
    let mut dice = Random::new(t.seed);
    let nodes = t.nodes();
    let mut ways: Vec<(Node, Node)> = Vec::new();
    for (number, a) in nodes.iter().enumerate() {
        ways.extend(nodes.iter().skip(number + 1).map(|b| (*a, *b)));
    }
    shuffle(&mut ways, &mut dice);
    let mut cuts = Vec::new();
    for (a, b) in ways {
        let label = format!("{} and {} are apart", t.name(a), t.name(b));
        cuts.push(t.inject(apart(&label, t, a, &[b]))?);
        t.let_pass(t.adverts(2))?;
    }
    t.let_pass(t.adverts(8))?;
    shuffle(&mut cuts, &mut dice);
    for cut in cuts {
        t.heal(cut)?;
        t.let_pass(t.adverts(2))?;
    }
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, SOLO_BUDGET * 2)?;
    let leaders = [primary, standby].map(|node| t.keeper(node).map_or(0, |status| status.epoch));
    let epochs = leaders.into_iter().max().unwrap_or_default().saturating_sub(before);
    t.assert(
        "authority changes no more than it must",
        epochs <= EPOCHS_OF_SWIZZLE,
        format!("{epochs} new epochs"),
    );
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

fn apart(label: &str, t: &Drill, node: Node, others: &[Node]) -> Fault {
    let lost = Effect::Drop { per_mille: 1000 };
    let both = |other: &Node| {
        let (a, b) = (t.port(node), t.port(*other));
        [Rule::one_way(a, b, lost), Rule::one_way(b, a, lost)]
    };
    Fault::network(label, others.iter().flat_map(both).collect())
}

fn shuffle<T>(list: &mut [T], dice: &mut Random) {
    for last in (1..list.len()).rev() {
        let other = dice.below(last as u64 + 1);
        list.swap(last, usize::try_from(other).unwrap_or(last));
    }
}
