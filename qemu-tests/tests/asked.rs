//! A node asked by `nodectl` in a real machine: PID 1 itself answers, and its kernel says who asks.

use std::path::Path;
use std::time::Duration;

use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};

/// Emulated processors on a busy machine are slow; a healthy boot takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_mins(2);

#[test]
fn a_node_answers_root_and_its_api_and_no_stranger() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/asked.toml");
    let definition = definition.display().to_string();
    let built = image::build(&definition, None, &folder.path().join("out"));
    let machine = bench.machine(&built, false, folder.path());
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    for line in [
        "node      node1 of lab",
        "image     asked 0.1.0, slot a",
        "LINK  STATE",
        "          it has a shell: not for production",
        "steady a steady word",
        "OOM KILLS",
        "stranger: ended with exit code 1",
    ] {
        let found = guest.console.wait_for(line, BOOT_LIMIT);
        assert!(found.is_some(), "{line}\n{}", guest.console.transcript());
    }
    assert!(guest.wait_for_end(BOOT_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(!transcript.contains("from-afar: ended with"), "{transcript}");
    assert!(transcript.contains("edgepair: powering off"), "{transcript}");
    assert!(!transcript.contains("Kernel panic"), "{transcript}");
    println!("{transcript}");
}
