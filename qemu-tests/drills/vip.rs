//! The virtual address: who has it, how soon another has it, and that nobody else does.

mod nodes;
mod spoof;
mod wire;

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{claims, yields};
use qemu_tests::rig::fault::{Node, Stop};

use crate::{SIGNED_VIP_PAIR, VIP_PAIR};

pub(crate) const FAMILY: Family = Family {
    name: "vip",
    about: "The virtual address: who has it, how soon another has it, and that nobody else does.",
    drills: &[
        Entry::new(
            "vip_simultaneous_boot",
            "two nodes that boot at the same time end with one owner, and nobody else claims \
             the address",
            VIP_PAIR,
            nodes::simultaneous_boot,
        )
        .on_both()
        .from_off(),
        Entry::new(
            "vip_graceful_handover",
            "the owner is switched off: the peer claims the address within an advert of its \
             resignation",
            VIP_PAIR,
            nodes::graceful_handover,
        )
        .on_both(),
        Entry::new(
            "vip_power_cut",
            "the owner loses power: the peer has the address within three adverts and skew, and \
             says so",
            VIP_PAIR,
            nodes::power_cut,
        )
        .on_both(),
        Entry::new(
            "vip_daemon_kill9",
            "vipd is killed: the address that it left behind is gone before the peer claims it",
            VIP_PAIR,
            nodes::daemon_kill9,
        )
        .on_both(),
        Entry::new(
            "vip_daemon_hang",
            "vipd hangs: the peer takes over, and the hung node is made to let the address go",
            VIP_PAIR,
            nodes::daemon_hang,
        )
        .on_both(),
        Entry::new(
            "vip_freeze_thaw",
            "an owner that was frozen past its takeover yields in one advert, and the survivor \
             announces again",
            VIP_PAIR,
            nodes::freeze_thaw,
        )
        .on_both()
        .on_demand(),
        Entry::new(
            "vip_stall_short",
            "an owner that stands still for two adverts keeps the address",
            VIP_PAIR,
            nodes::stall_short,
        )
        .on_both(),
        Entry::new(
            "vip_unplug",
            "the owner's cable is pulled: it lets the address go, and the peer takes over",
            VIP_PAIR,
            wire::unplug,
        )
        .on_both(),
        Entry::new(
            "vip_blackhole",
            "the owner's frames vanish without its noticing: the peer takes over, and one owner \
             is left when they don't",
            VIP_PAIR,
            wire::blackhole,
        )
        .on_both(),
        Entry::new(
            "vip_one_way",
            "the peer doesn't hear the owner, which hears it: the address stays reachable, and \
             nothing flaps",
            VIP_PAIR,
            wire::one_way,
        )
        .on_both()
        .on_demand(),
        Entry::new(
            "vip_loss_20",
            "a fifth of all adverts is lost: owners change rarely, and clients are answered",
            VIP_PAIR,
            wire::loss_20,
        )
        .on_both()
        .on_demand(),
        Entry::new(
            "vip_dup_reorder",
            "adverts come twice and late: no stale one moves the address, not even after a \
             takeover",
            VIP_PAIR,
            wire::dup_reorder,
        )
        .on_both()
        .on_demand(),
        Entry::new(
            "vip_spoofed_advert",
            "a stranger's adverts, unsigned or signed with another key, move nobody and are \
             reported",
            SIGNED_VIP_PAIR,
            spoof::spoofed_advert,
        )
        .on_both()
        .on_demand(),
    ],
};

/// What clients may wait for after a takeover: the address is silent for four adverts at most, and
/// a question that nobody answered is given up after 400 ms.
pub(crate) fn patience(t: &Drill) -> Duration {
    t.takeover() + Duration::from_millis(500)
}

/// Brings the address to the node of the lower priority, which keeps it: it is not preempted.
pub(crate) fn lesser_owns(t: &mut Drill) -> Result<(Node, Node), Stop> {
    let (better, lesser) = (t.node("node1")?, t.node("node2")?);
    if t.vip_roles()?.0 == better {
        let away = t.inject(better.unplug())?;
        t.expect("the lesser node takes over", claims(lesser), t.takeover())?;
        t.heal(away)?;
        t.expect("the better one waits", yields(better), t.adverts(2))?;
    }
    match t.vip_roles()? {
        (owner, peer) if owner == lesser => Ok((owner, peer)),
        _ => Err(Stop::Violated("the better node preempted the lesser one".to_owned())),
    }
}
