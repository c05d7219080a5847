//! PID 1: what it does with services and processes that don't behave.

use std::time::Duration;

use probe::words::Ask;
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::fact;
use qemu_tests::rig::fault::Stop;

use crate::ONE_NODE;

pub(crate) const FAMILY: Family = Family {
    name: "agent",
    about: "PID 1: what it does with services and processes that don't behave.",
    drills: &[Entry::new(
        "agent_orphans",
        "a thousand orphans are reaped, and none is left as a zombie",
        ONE_NODE,
        agent_orphans,
    )],
};

const ORPHANS: u32 = 1000;
const MAKE_LIMIT: Duration = Duration::from_secs(45);
const REAP_LIMIT: Duration = Duration::from_secs(10);

fn agent_orphans(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    t.probe(node)?.ask_for(Ask::MakeOrphans { count: ORPHANS }, MAKE_LIMIT)?;
    t.note(format!("{ORPHANS} processes have lost their parent"));
    t.mark();
    let gone = |facts: &probe::words::Facts| {
        facts.zombies == 0 && facts.processes.get("probe").is_none_or(|count| *count == 1)
    };
    t.expect("all are gone, none is a zombie", fact(node, gone), REAP_LIMIT)?;
    Ok(())
}
