//! Networks that come apart.

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{answers, claims, is_to_be_cut};
use qemu_tests::rig::fault::{Fault, Node, Stop};
use vswitch::random::Random;
use vswitch::rule::{Effect, Pick, Rule};

use super::{CRASH_BUDGET, HEAL_LIMIT, LONG_ENOUGH, SOLO_BUDGET, shut};

/// Whoever goes on alone takes an epoch, and the pair that is in sync again another; each side has every
/// other number for itself.
const EPOCHS_OF_SWIZZLE: u64 = 4;
/// Ports between the nodes, as seeds have them by themselves.
const HEARTBEATS: u16 = 7430;
const REPLICATION: u16 = 5433;

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

/// Nobody hears the primary, and the pair has a power switch instead of a witness. The standby has the
/// primary's power cut, and leads only when that is confirmed.
pub(crate) fn fence(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    t.plug_power_switch_in()?;
    let clients = t.start_writers()?;
    let hole = t.inject(primary.black_hole())?;
    t.expect("the primary's door is shut", shut(primary), CRASH_BUDGET)?;
    t.expect("the standby asks to cut its power", is_to_be_cut(primary), CRASH_BUDGET)?;
    let opens = t.gate_opens_within(standby, t.adverts(8))?;
    t.assert("until that is confirmed nobody serves", !opens, format!("its gate opens: {opens}"));
    let cut = t.inject(primary.power_cut())?;
    t.confirm_power_cut(primary)?;
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(hole)?;
    t.heal(cut)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    let asked = t.power_cut_is_asked(standby)?;
    t.assert("nobody has the new primary's power cut", !asked, format!("asked for: {asked}"));
    t.finish_writers(clients, CRASH_BUDGET * 3)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

/// Something between the nodes lets adverts through and nothing else of theirs: each takes the other
/// for dead, and both reach clients and gateway. There is no witness to ask.
pub(crate) fn filtered_peers(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let lost = Effect::Drop { per_mille: 1000 };
    let (a, b) = (t.port(primary), t.port(standby));
    let rules = [Pick::Udp(HEARTBEATS), Pick::Tcp(REPLICATION)].into_iter().flat_map(|pick| {
        [Rule::one_way(a, b, lost).only(pick), Rule::one_way(b, a, lost).only(pick)]
    });
    let label = "the nodes hear nothing of each other but adverts";
    let filtered = t.inject(Fault::network(label, rules.collect()))?;
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.let_pass(LONG_ENOUGH)?;
    t.mark();
    t.expect("the old primary's door is still shut", shut(primary), t.adverts(4))?;
    t.expect("clients are still answered", answers(), t.adverts(4))?;
    t.heal(filtered)?;
    t.settle_pair(HEAL_LIMIT)?;
    let (leader, _) = t.pair_roles()?;
    t.assert("the standby has stayed the leader", leader == standby, t.name(leader).to_owned());
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
