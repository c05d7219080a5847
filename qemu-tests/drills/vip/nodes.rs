//! What happens to a node that has the address, or to its daemon.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{announces, answers, claims, lacks_address, yields};
use qemu_tests::rig::fault::{Node, Stop};
use vswitch::wire::Claim;

use super::{lesser_owns, patience};

/// An orderly way down, with everything that a node has running.
const OFF_LIMIT: Duration = Duration::from_secs(30);
/// A hung daemon is noticed after five seconds, killed, and started again after some milliseconds; a
/// slow guest needs some time for that.
const KILL_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn simultaneous_boot(t: &mut Drill) -> Result<(), Stop> {
    for node in t.nodes() {
        t.start(node)?;
    }
    for node in t.nodes() {
        t.wait_ready(node)?;
    }
    let (_, peer) = t.vip_roles()?;
    t.mark();
    t.expect("the other one says nothing", yields(peer), Duration::ZERO)?;
    t.settle()?;
    t.check(t.single_owner());
    Ok(())
}

pub(super) fn graceful_handover(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let off = t.inject(owner.power_off(OFF_LIMIT))?;
    t.mark();
    t.expect("clients are answered", answers(), t.adverts(2))?;
    let gap = gap_of_handover(t, owner, peer)?;
    let allowed = t.adverts(1);
    t.assert_in_time(
        "the address is without owner for less than an advert",
        gap < allowed,
        format!("{gap:?}"),
    );
    let history = t.finish_clients(clients)?;
    t.heal(off)?;
    t.wait_ready(owner)?;
    t.settle()?;
    let budget = t.adverts(1) + Duration::from_millis(500);
    let waited = t.longest_gap(&history, budget);
    t.check(waited);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

/// From the owner's resignation to the peer's first advert, on the wire.
fn gap_of_handover(t: &Drill, owner: Node, peer: Node) -> Result<Duration, Stop> {
    let (of_owner, of_peer) = (t.port(owner), t.port(peer));
    let vip = t.vip()?;
    let times = t.cluster.switch.with_wire(|wire| {
        let adverts: Vec<_> = wire
            .since(Duration::ZERO)
            .filter_map(|heard| match heard.claim {
                Claim::Advert(vrrp) if vrrp.vrid == vip.vrid => Some((heard, vrrp.priority)),
                _ => None,
            })
            .collect();
        let resigned =
            adverts.iter().rfind(|(heard, priority)| heard.port == of_owner && *priority == 0);
        let resigned = resigned.map(|(heard, _)| heard.at)?;
        let taken = adverts.iter().find(|(heard, _)| heard.port == of_peer && heard.at > resigned);
        Some((resigned, taken?.0.at))
    });
    let (resigned, taken) =
        times.ok_or_else(|| Stop::Violated("the owner went without resigning".to_owned()))?;
    Ok(taken.saturating_sub(resigned))
}

pub(super) fn power_cut(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let cut = t.inject(owner.power_cut())?;
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    t.expect("the peer announces it", announces(peer), t.takeover())?;
    t.expect("clients are answered again", answers(), patience(t))?;
    t.heal(cut)?;
    t.wait_ready(owner)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

pub(super) fn daemon_kill9(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let address = t.vip()?.address;
    let clients = t.start_clients()?;
    let _killed = t.inject(owner.kill9("vipd"))?;
    // It was asked for through the guest, which may be slow to answer; it is dead by now.
    t.mark();
    let gone = "the address left behind is gone";
    let gone = t.expect(gone, lacks_address(owner, address), t.takeover())?;
    let claimed = t.expect("the peer claims the address", claims(peer), t.takeover())?;
    // The guest is asked anew only when it has answered, and what it saw is dated by the question.
    let seen =
        format!("gone after {} ms, claimed after {} ms", gone.as_millis(), claimed.as_millis());
    t.assert_in_time("it is gone before the peer claims it", gone <= claimed, seen);
    t.expect("the peer announces it", announces(peer), t.takeover())?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

pub(super) fn daemon_hang(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let address = t.vip()?.address;
    let clients = t.start_clients()?;
    let hung = t.inject(owner.hang("vipd"))?;
    // As for a kill: it hangs by now.
    t.mark();
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    t.expect("clients are answered again", answers(), patience(t))?;
    t.expect("the hung node drops the address", lacks_address(owner, address), KILL_LIMIT)?;
    t.heal(hung)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

pub(super) fn freeze_thaw(t: &mut Drill) -> Result<(), Stop> {
    // The better of two Actives stays, whoever was frozen: so it is the lesser one.
    let (owner, peer) = lesser_owns(t)?;
    let clients = t.start_clients()?;
    let frozen = t.inject(owner.freeze())?;
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    t.let_pass(t.adverts(8))?;
    t.heal(frozen)?;
    t.expect("the old owner yields", yields(owner), t.adverts(1))?;
    t.expect("the survivor announces again", announces(peer), t.adverts(2))?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    Ok(())
}

pub(super) fn stall_short(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let stalled = t.inject(owner.stall())?;
    t.let_pass(t.adverts(2))?;
    t.heal(stalled)?;
    t.expect("the owner goes on", claims(owner), t.adverts(2))?;
    t.expect("the peer says nothing", yields(peer), Duration::ZERO)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(0));
    Ok(())
}
