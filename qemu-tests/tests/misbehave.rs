//! A node whose services do what services should not, in a real machine: the kernel's limits, PID 1
//! as the parent of every orphan, the watchdog, and the way down.

use std::path::Path;
use std::time::Duration;

use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};

/// Emulated processors on a busy machine are slow; a healthy boot takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_mins(2);

/// The services have a minute, the rest some seconds; what takes longer than both hangs.
const END_LIMIT: Duration = Duration::from_mins(2);

/// Starts a machine with one of the images beside these tests.
fn start(name: &str, folder: &Path) -> Guest {
    let bench = Bench::get();
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("images/{name}.toml"));
    let built = image::build(&definition.display().to_string(), None, &folder.join("out"));
    let machine = bench.machine(&built, false, folder);
    Guest::start(&bench.qemu, &machine).expect("started")
}

#[test]
fn a_node_outlives_its_services_and_goes_down_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = start("misbehave", folder.path());
    for line in [
        "good: ready",
        "missing: can't start /usr/bin/there-is-no-such-program",
        "crash-loop: ended with exit code 3; starts again in",
        "memory-hog: the kernel killed a process of it",
        "watchdog: Software Watchdog, 30 s",
        // After a minute of all this the loop still has its time.
        "degraded: ",
    ] {
        let found = guest.console.wait_for(line, BOOT_LIMIT);
        assert!(found.is_some(), "{line}\n{}", guest.console.transcript());
    }
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(transcript.contains("stubborn: does not stop when asked; killing it"), "{transcript}");
    assert!(transcript.contains("edgepair: powering off"), "{transcript}");
    assert!(!transcript.contains("good: ended"), "{transcript}");
    assert!(!transcript.contains("refuse to die"), "{transcript}");
    assert!(!transcript.contains("watchdog: not fed"), "{transcript}");
    assert!(!transcript.contains("Kernel panic"), "{transcript}");
}

#[test]
fn a_service_that_hangs_takes_the_machine_down_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = start("mute", folder.path());
    let line = "watchdog: not fed because of mute; it resets the machine in 30 s";
    let said = guest.console.wait_for(line, BOOT_LIMIT);
    assert!(said.is_some(), "{}", guest.console.transcript());
    // Nobody asks for it: QEMU ends because the machine restarts.
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(!transcript.contains("edgepair: restarting"), "{transcript}");
    assert!(!transcript.contains("edgepair: asked to"), "{transcript}");
}
