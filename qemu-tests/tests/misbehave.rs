//! A node whose services do what services should not, in a real machine: the kernel's limits, PID 1
//! as the parent of every orphan, the watchdog, a full disk, and the way down.

use std::fs;
use std::path::Path;
use std::time::Duration;

use builder::qemu::command::Machine;
use qemu_tests::desk::Desk;
use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};

/// Emulated processors on a busy machine are slow; a healthy boot takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_mins(2);

/// The services have a minute, the rest some seconds; what takes longer than both hangs.
const END_LIMIT: Duration = Duration::from_mins(2);

/// A machine with one of the images beside these tests; the site's secrets are made in `folder`.
fn machine(name: &str, folder: &Path) -> Machine {
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("images/{name}.toml"));
    let seed = folder.join("node1.toml");
    fs::copy(image::lab_seed("node1"), &seed).expect("copied");
    let definition = definition.display().to_string();
    let built = image::build_for(&seed, &definition, None, &folder.join("out"));
    Bench::get().machine(&built, false, folder)
}

fn start(machine: &Machine) -> Guest {
    Guest::start(&Bench::get().qemu, machine).expect("started")
}

fn expect(guest: &Guest, line: &str) {
    let found = guest.console.wait_for(line, BOOT_LIMIT);
    assert!(found.is_some(), "{line}\n{}", guest.console.transcript());
}

/// With no room on STATE, and services that do their worst, the node still answers.
fn check_from_afar(desk: &Desk) {
    let says = "can't write logs: No space left on device";
    desk.until(&["status"], |said| said.contains(says));
    // Lines are kept in memory, and new ones come.
    desk.ask(&["restart", "good"]);
    desk.until(&["logs", "good"], |said| said.matches("environment: ").count() >= 2);
    desk.until(&["logs", "orphans"], |said| said.contains("all orphans are made"));
    let top = desk.ask(&["metrics"]);
    let pids = |service: &str| {
        let sample = format!("edgepair_service_pids{{service=\"{service}\"}} ");
        let line = top.lines().find_map(|line| line.strip_prefix(&sample));
        line.and_then(|count| count.parse::<u32>().ok()).unwrap_or_else(|| panic!("{top}"))
    };
    assert!(pids("orphans") > 500, "{top}");
    assert!(pids("fork-bomb") <= 100, "{top}");
}

#[test]
fn a_node_outlives_its_services_and_a_full_disk_and_goes_down_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = machine("misbehave", folder.path());
    let desk = Desk::beside(&mut machine, &folder.path().join("secrets/lab"));
    let mut guest = start(&machine);
    for line in [
        "good: ready",
        "missing: can't start /usr/bin/there-is-no-such-program",
        "crash-loop: ended with exit code 3; starts again in",
        "memory-hog: the kernel killed a process of it",
        "watchdog: Software Watchdog, 30 s",
        "pids-witness: done",
        "hoarder: done",
    ] {
        expect(&guest, line);
    }
    check_from_afar(&desk);
    // After a minute of all this the loop still has its time.
    expect(&guest, "degraded: ");
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(transcript.contains("stubborn: does not stop when asked; killing it"), "{transcript}");
    assert!(transcript.contains("edgepair: powering off"), "{transcript}");
    assert!(!transcript.contains("good: ended"), "{transcript}");
    assert!(!transcript.contains("refuse to die"), "{transcript}");
    assert!(!transcript.contains("watchdog: not fed"), "{transcript}");
    assert!(!transcript.contains("Kernel panic"), "{transcript}");

    // A full disk is no reason not to boot, and its filesystem is whole.
    let mut guest = start(&machine);
    expect(&guest, "good: ready");
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(!transcript.contains("STATE is unusable"), "{transcript}");
    assert!(!transcript.contains("EXT4-fs error"), "{transcript}");
}

#[test]
fn a_service_that_hangs_is_killed_and_one_that_can_not_be_takes_the_machine_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = start(&machine("mute", folder.path()));
    expect(&guest, "mute: doesn't say that it is alive; killing it");
    expect(&guest, "mute: was killed; starts again in");
    expect(&guest, "stuck: still not gone after a kill; killing it again");
    let line = "watchdog: not fed because of stuck; it resets the machine in 30 s";
    let said = guest.console.wait_for(line, BOOT_LIMIT);
    assert!(said.is_some(), "{}", guest.console.transcript());
    // Nobody asks for it: QEMU ends because the machine restarts.
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(!transcript.contains("edgepair: restarting"), "{transcript}");
    assert!(!transcript.contains("edgepair: asked to"), "{transcript}");
}
