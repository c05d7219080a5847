//! What happens on the way between the nodes.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{announces, answers, claims, lacks_address, yields};
use qemu_tests::rig::fault::{Fault, Stop};
use vswitch::rule::{Effect, Pick, Rule};

use super::patience;

/// Long enough for eighty adverts, of which sixteen are lost.
const LOSSY: Duration = Duration::from_secs(20);
/// A takeover needs three adverts lost in a row, once in 125. More than so many in eighty happen
/// once in some thousand runs.
const CHANGES_OF_LOSSY: usize = 4;

pub(super) fn unplug(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let address = t.vip()?.address;
    let clients = t.start_clients()?;
    let pulled = t.inject(owner.unplug())?;
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    // What a guest says of itself comes as late as the guest is slow.
    t.expect("the owner lets it go", lacks_address(owner, address), t.takeover() * 2)?;
    t.expect("the peer announces it", announces(peer), t.takeover())?;
    t.expect("clients are answered again", answers(), patience(t))?;
    t.heal(pulled)?;
    t.expect("the old owner waits", yields(owner), t.adverts(1))?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

pub(super) fn blackhole(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let hole = t.inject(owner.black_hole())?;
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    t.expect("the peer announces it", announces(peer), t.takeover())?;
    t.expect("clients are answered again", answers(), patience(t))?;
    t.let_pass(t.adverts(8))?;
    t.heal(hole)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    // Away from the owner; and back if it is the better one, or to it and back for the advert that it
    // takes both to hear of each other.
    t.check(t.owner_changes(3));
    Ok(())
}

pub(super) fn one_way(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let rule = Rule::one_way(t.port(owner), t.port(peer), Effect::Drop { per_mille: 1000 });
    let cut = t.inject(Fault::network("the peer doesn't hear the owner", vec![rule]))?;
    t.expect("the peer claims the address too", claims(peer), t.takeover())?;
    t.let_pass(t.adverts(20))?;
    t.heal(cut)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    // The lesser of the two yields once it hears the better one, and not before.
    t.check(t.owner_changes(2));
    Ok(())
}

pub(super) fn loss_20(t: &mut Drill) -> Result<(), Stop> {
    t.vip_roles()?;
    let clients = t.start_clients()?;
    let lossy = t.inject(Fault::loss_of(Pick::Vrrp, 200))?;
    t.let_pass(LOSSY)?;
    t.heal(lossy)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.owner_changes(CHANGES_OF_LOSSY));
    Ok(())
}

pub(super) fn dup_reorder(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let late = t.adverts(2);
    let rules =
        [Effect::Duplicate { per_mille: 300 }, Effect::Reorder { per_mille: 300, by: late }];
    let rules = rules.map(|effect| Rule::everywhere(effect).only(Pick::Vrrp)).to_vec();
    let mixed = t.inject(Fault::network("adverts come twice and late", rules))?;
    t.let_pass(t.adverts(32))?;
    t.expect("the peer says nothing", yields(peer), Duration::ZERO)?;
    let cut = t.inject(owner.power_cut())?;
    // The last advert may have come two adverts late.
    t.expect("the peer claims the address", claims(peer), t.takeover() + late)?;
    t.let_pass(t.adverts(8))?;
    t.heal(mixed)?;
    t.heal(cut)?;
    t.wait_ready(owner)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t) + late);
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}
