//! The virtual address: who has it, how soon another has it, and that nobody else does.

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
            "an owner that was frozen past its takeover yields in one advert, and the survivor announces again",
            VIP_PAIR,
            vip_freeze_thaw,
        )
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

fn vip_freeze_thaw(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
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
