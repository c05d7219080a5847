//! PID 1: what it does with services and processes that don't behave, and with the power button.

use std::time::Duration;

use probe::words::{Ask, Facts};
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{claims, fact, resigns, says};
use qemu_tests::rig::fault::Stop;
use qemu_tests::rig::state;

use crate::{ONE_NODE, VIP_PAIR};

pub(crate) const FAMILY: Family = Family {
    name: "agent",
    about: "PID 1: what it does with services and processes that don't behave, and with the power \
            button.",
    drills: &[
        Entry::new(
            "agent_orphans",
            "a thousand orphans are reaped, and none is left as a zombie",
            ONE_NODE,
            agent_orphans,
        ),
        Entry::new(
            "agent_crashloop",
            "a service that is killed again and again comes back each time, after capped pauses",
            ONE_NODE,
            agent_crashloop,
        ),
        Entry::new(
            "agent_oom",
            "when memory is over the hog dies, and neither the VIP daemon nor PID 1 does",
            ONE_NODE,
            agent_oom,
        ),
        Entry::new(
            "agent_poweroff",
            "at the power button the address is given up, then STATE is unmounted clean, then it is off",
            VIP_PAIR,
            agent_poweroff,
        )
        .on_both(),
    ],
};

const ORPHANS: u32 = 1000;
const MAKE_LIMIT: Duration = Duration::from_secs(45);
const REAP_LIMIT: Duration = Duration::from_secs(10);
const CRASHES: u32 = 8;
/// `longest_delay` of the overlay, and the time in which an emulated node starts a program.
const BACK_LIMIT: Duration = Duration::from_secs(2 + 3);
const OOM_LIMIT: Duration = Duration::from_secs(45);
const OFF_LIMIT: Duration = Duration::from_secs(45);

fn runs_vipd(facts: &Facts) -> bool {
    facts.processes.contains_key("vipd")
}

fn agent_orphans(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    t.probe(node)?.ask_for(Ask::MakeOrphans { count: ORPHANS }, MAKE_LIMIT)?;
    t.note(format!("{ORPHANS} processes have lost their parent"));
    t.mark();
    let gone = |facts: &Facts| {
        facts.zombies == 0 && facts.processes.get("probe").is_none_or(|count| *count == 1)
    };
    t.expect("all are gone, none is a zombie", fact(node, gone), REAP_LIMIT)?;
    Ok(())
}

fn agent_crashloop(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    let boot = t.probe(node)?.facts()?.boot_id;
    for _ in 0..CRASHES {
        t.mark();
        t.expect("vipd runs", fact(node, runs_vipd), BACK_LIMIT)?;
        let killed = t.inject(node.kill9("vipd"))?;
        t.expect("its end is noticed", says(node, "vipd: was killed"), BACK_LIMIT)?;
        t.heal(killed)?;
    }
    t.expect("vipd runs at last", fact(node, runs_vipd), BACK_LIMIT)?;
    let same = t.probe(node)?.facts()?.boot_id == boot;
    t.assert("it is the same boot", same, boot);
    Ok(())
}

fn agent_oom(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    for part in ["Out of memory: Killed process", "oom-kill:"] {
        t.excuse(part);
    }
    let before = t.probe(node)?.facts()?;
    t.inject(node.hog_memory()).map(drop)?;
    t.expect("the hog is killed", says(node, "(probe)"), OOM_LIMIT)?;
    let after = t.probe(node)?.facts()?;
    let lost: Vec<&String> =
        before.processes.keys().filter(|name| !after.processes.contains_key(*name)).collect();
    t.assert("no other process is gone", lost.is_empty(), format!("gone: {lost:?}"));
    t.assert("it is the same boot", before.boot_id == after.boot_id, after.boot_id);
    let console = t.machine(node)?.console.transcript();
    let survived = !console.contains("vipd: was killed");
    t.assert("the VIP daemon was never restarted", survived, "by its console");
    Ok(())
}

fn agent_poweroff(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let off = t.inject(owner.power_off(OFF_LIMIT))?;
    let resigned = t.expect("the address is given up", resigns(owner), OFF_LIMIT)?;
    let claimed = t.expect("the peer claims it", claims(peer), OFF_LIMIT)?;
    let gap = claimed.saturating_sub(resigned);
    let (took, allowed) = (gap.as_millis(), t.adverts(1).as_millis());
    t.assert_in_time(
        "the peer has it within one advert",
        took <= allowed,
        format!("after {took} ms"),
    );
    let last = t.expect("the node says when it goes", says(owner, "powering off"), OFF_LIMIT)?;
    t.assert("it goes after that", last > resigned, format!("{resigned:?}, then {last:?}"));
    let clean = state::is_clean(t.machine(owner)?.disk()?);
    let clean = clean.map_err(|error| Stop::Unknown(error.to_string()))?;
    t.assert("STATE was unmounted clean", clean, "by its superblock");
    t.heal(off)?;
    t.wait_ready(owner)?;
    t.settle()
}
