//! From power-on to a node that is ready, or to one that says why it isn't.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Entry, Family};
use qemu_tests::rig::expect::{fact, says};
use qemu_tests::rig::fault::Stop;

use crate::ONE_NODE;

pub(crate) const FAMILY: Family = Family {
    name: "boot",
    about: "From power-on to a node that is ready, or to one that says why it isn't.",
    drills: &[
        Entry::new(
            "boot_seeded",
            "a seeded node is ready in its budget, with a read-only root and the agent as PID 1",
            ONE_NODE,
            boot_seeded,
        )
        .from_off(),
        Entry::new(
            "boot_bad_seed",
            "a bad seed is refused with the key at fault, and nothing is configured or claimed",
            ONE_NODE,
            boot_bad_seed,
        )
        .from_off(),
        Entry::new(
            "boot_twice",
            "a second boot makes nothing anew: same machine id, same partition table",
            ONE_NODE,
            boot_twice,
        )
        .from_off(),
    ],
};

/// Seven seconds on an idle desk without KVM.
const BOOT_BUDGET: Duration = Duration::from_secs(45);
const OFF_LIMIT: Duration = Duration::from_secs(30);
const REAP_LIMIT: Duration = Duration::from_secs(10);

fn boot_seeded(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    t.start(node)?;
    t.expect("ready", says(node, "edgepair: ready node=node1"), BOOT_BUDGET)?;
    let facts = t.probe(node)?.facts()?;
    let read_only = facts.root_options.split(',').any(|option| option == "ro");
    t.assert("the root is mounted read-only", read_only, facts.root_options);
    t.assert("PID 1 is the agent", facts.init.ends_with("/init"), facts.init);
    // Between a process's end and its reaping it is a zombie, however quick PID 1 is, and programs
    // end all the time at a start: the defect is one that stays.
    t.mark();
    let reaped = fact(node, |facts| facts.zombies == 0);
    t.expect("no process is left unreaped", reaped, REAP_LIMIT)?;
    Ok(())
}

fn boot_bad_seed(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    t.machine(node)?.write_seed("format = 1\n\n[node]\nnmae = \"node1\"\n")?;
    t.start(node)?;
    t.expect("it waits", says(node, "waiting for a good seed"), BOOT_BUDGET)?;
    t.expect("the key is named", says(node, "nmae"), BOOT_BUDGET)?;
    let facts = t.probe(node)?.facts()?;
    let none = facts.addresses.is_empty();
    t.assert("it has no address", none, format!("{:?}", facts.addresses));
    let idle = !facts.processes.contains_key("vipd");
    t.assert("no service runs", idle, format!("{:?}", facts.processes));
    let said = t.cluster.switch.with_wire(|wire| wire.since(Duration::ZERO).count());
    t.assert("nothing was claimed on the wire", said == 0, format!("{said} claims"));
    Ok(())
}

fn boot_twice(t: &mut Drill) -> Result<(), Stop> {
    let node = t.node("node1")?;
    t.start(node)?;
    t.expect("ready", says(node, "edgepair: ready node=node1"), BOOT_BUDGET)?;
    let first = identity(t)?;
    let off = t.inject(node.power_off(OFF_LIMIT))?;
    let table = partition_table(t)?;
    t.heal(off)?;
    t.expect("ready again", says(node, "edgepair: ready node=node1"), BOOT_BUDGET)?;
    let second = identity(t)?;
    t.assert("the machine id stays", first == second, format!("{first:?}, then {second:?}"));
    let same = partition_table(t)? == table;
    t.assert("the partition table is not written again", same, "first 34 sectors compared");
    Ok(())
}

/// Who the node thinks it is.
fn identity(t: &Drill) -> Result<String, Stop> {
    t.read_file(t.node("node1")?, "/etc/machine-id")
}

/// The protective and the primary partition table, as the disk has them.
fn partition_table(t: &mut Drill) -> Result<Vec<u8>, Stop> {
    let node = t.node("node1")?;
    let mut bytes = vec![0; 34 * 512];
    let read = t.machine(node)?.disk()?.with_store(|store| store.read(0, &mut bytes));
    read.map_err(|fault| Stop::Unknown(format!("the disk can't be read: {fault:?}")))?;
    Ok(bytes)
}
