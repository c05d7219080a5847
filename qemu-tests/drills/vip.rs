//! The virtual address: who has it, how soon another has it, and that nobody else does.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{announces, answers, claims, yields};
use qemu_tests::rig::fault::Stop;

use crate::VIP_PAIR;

pub(crate) const FAMILY: Family = Family {
    name: "vip",
    about: "The virtual address: who has it, how soon another has it, and that nobody else does.",
    drills: &[
        Entry::new(
            "vip_power_cut",
            "the owner loses power: the peer has the address within three adverts and skew, and says so",
            VIP_PAIR,
            vip_power_cut,
        )
        .on_both(),
        Entry::new(
            "vip_freeze_thaw",
            "a weaker owner frozen past its takeover yields in one advert; the survivor announces again",
            VIP_PAIR,
            vip_freeze_thaw,
        )
        .from_off()
        .within(Duration::from_secs(150))
        .on_both(),
    ],
};

fn vip_power_cut(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let cut = t.inject(owner.power_cut())?;
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    t.expect("the peer announces it", announces(peer), t.takeover())?;
    t.expect("clients are answered again", answers(), t.adverts(6))?;
    t.heal(cut)?;
    t.wait_ready(owner)?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, t.adverts(6));
    t.check(gap);
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

/// Of two that think they have the address the stronger one keeps it, so the frozen one is the weaker:
/// it has the address because it was there first, and nobody preempts.
fn vip_freeze_thaw(t: &mut Drill) -> Result<(), Stop> {
    let (stronger, weaker) = (t.node("node1")?, t.node("node2")?);
    for node in [weaker, stronger] {
        t.start(node)?;
        t.wait_ready(node)?;
    }
    let (owner, peer) = t.vip_roles()?;
    if owner != weaker {
        return Err(Stop::Unknown("the stronger node took the address".to_owned()));
    }
    let clients = t.start_clients()?;
    let frozen = t.inject(owner.freeze())?;
    t.expect("the peer claims the address", claims(peer), t.takeover())?;
    t.let_pass(t.adverts(8))?;
    t.heal(frozen)?;
    t.expect("the old owner yields", yields(owner), t.adverts(1))?;
    t.expect("the survivor announces again", announces(peer), t.adverts(2))?;
    t.settle()?;
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, t.adverts(6));
    t.check(gap);
    t.check(t.single_owner());
    Ok(())
}
