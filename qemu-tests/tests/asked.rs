//! A node asked by `nodectl` in a real machine: on the node, where the kernel says who asks, and from
//! the desk through the whole chain of the node's API, with certificates that the builder made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use builder::cluster::secrets;
use qemu_tests::desk::Desk;
use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};
use qemu_tests::state;

/// Emulated processors on a busy machine are slow; a healthy boot takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_mins(2);
/// PID 1 has its own pages and the rings of a dozen services; what is more than this leaks.
const AGENT_KILOBYTES_MAX: u32 = 16 * 1024;

/// Comes with a certificate that opens no door.
fn is_refused(desk: &Desk, operator: &Path) {
    let output = desk.run_as(operator, &["status"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(output.stdout.is_empty() && errors.contains("certificate"), "{errors}");
}

/// An operator's folder made of a certificate, its key, and the CA that the node is known by.
fn operator_folder(folder: &Path, certificate: &Path, key: &Path, authority: &Path) -> PathBuf {
    fs::create_dir(folder).expect("a folder");
    for (from, to) in [(certificate, "operator.pem"), (key, "operator.key"), (authority, "ca.pem")]
    {
        fs::copy(from, folder.join(to)).expect("copied");
    }
    folder.to_owned()
}

/// Strangers that look as much like an operator as they can.
fn strangers(folder: &Path, secrets: &Path) -> [PathBuf; 2] {
    let elsewhere = folder.join("elsewhere");
    let seed = fs::read_to_string(image::lab_seed("node1")).expect("a seed");
    let seed = seed::parse("node1.toml", &seed).expect("valid");
    secrets::ensure(&elsewhere, &seed).expect("made");
    let (authority, node) = (secrets.join("ca.pem"), secrets.join("nodes/node1"));
    let of = |name: &str, certificate: PathBuf, key: PathBuf| {
        operator_folder(&folder.join(name), &certificate, &key, &authority)
    };
    [
        // The operator of another site of the same name.
        of("other-site", elsewhere.join("operator.pem"), elsewhere.join("operator.key")),
        // A certificate of the right CA, but a node's.
        of("a-node", node.join("node.pem"), node.join("node.key")),
    ]
}

fn check_status(desk: &Desk) {
    let status = desk.status();
    assert_eq!(status["node"], "node1", "{status}");
    assert_eq!(status["readiness"]["ready"], true, "{status}");
    assert_eq!(status["storage"]["usable"], true, "{status}");
    assert_eq!(status["image"]["debug"], true, "{status}");
    assert!(status["clock"]["source"].is_string(), "{status}");
    // PostgreSQL's keeper gives no permit here, so nobody may hold the address.
    desk.until(&["status"], |said| said.contains("api/ipv4 backup, api/ipv6 backup"));
    // A program of its own looks at the slots once the node is ready.
    desk.until(&["status"], |said| said.contains("slot a (") && said.contains("; b: absent"));
}

/// What PID 1 was told to set is what the kernel has: the cgroups that K3s needs, and settings.
fn check_kernel(desk: &Desk) {
    let said = desk.ask(&["logs", "kernel"]);
    let controllers = said.lines().find_map(|line| line.split_once("subtree_control:"));
    let (_, controllers) = controllers.unwrap_or_else(|| panic!("{said}"));
    for controller in ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"] {
        assert!(controllers.split(' ').any(|there| there == controller), "{controller}: {said}");
    }
    for setting in [
        "kernel/panic:10",
        "kernel/panic_on_oops:1",
        "kernel/sysrq:0",
        "fs/protected_symlinks:1",
        "conf/all/arp_ignore:1",
    ] {
        assert!(said.contains(setting), "{setting}: {said}");
    }
}

fn check_services(desk: &Desk, folder: &Path) {
    let words = |said: &str| said.matches("a steady word").count();
    assert_eq!(words(&desk.ask(&["logs", "steady"])), 1);
    desk.ask(&["restart", "steady"]);
    desk.until(&["logs", "steady"], |said| words(said) == 2);
    let top = desk.ask(&["top", "--once"]);
    assert!(top.contains("nodeapi"), "{top}");
    let agent = desk.ask(&["get", "agent"]);
    println!("{agent}{top}");
    let resident = agent.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    assert!(kilobytes.is_some_and(|size| size < AGENT_KILOBYTES_MAX), "{agent}");
    let threads = agent.lines().find_map(|line| line.strip_prefix("Threads:"));
    assert_eq!(threads.map(str::trim), Some("1"), "PID 1 has one thread\n{agent}");
    let bundle = folder.join("bundle.tar.gz");
    desk.ask(&["support-bundle", "-o", &bundle.display().to_string()]);
    let listed = Command::new("tar").arg("-tzf").arg(&bundle).output().expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for piece in ["status.txt", "logs.txt", "metrics.txt", "facts/meminfo.txt"] {
        assert!(listed.contains(piece), "{listed}");
    }
    assert!(!listed.contains("missing.txt"), "{listed}");
}

#[test]
fn a_node_answers_root_its_operator_and_no_stranger() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/asked.toml");
    let seed = folder.path().join("node1.toml");
    fs::copy(image::lab_seed("node1"), &seed).expect("copied");
    let definition = definition.display().to_string();
    let built = image::build_for(&seed, &definition, None, &folder.path().join("out"));
    let mut machine = bench.machine(&built, false, folder.path());
    let disk = machine.disks[0].file.clone();
    let secrets = folder.path().join("secrets/lab");
    let desk = Desk::beside(&mut machine, &secrets);
    let strangers = strangers(folder.path(), &secrets);

    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    for line in [
        "node      node1 of lab",
        "image     asked 0.1.0, slot a",
        "LINK  STATE",
        "          it has a shell: not for production",
        "steady a steady word",
        "OOM KILLS",
        "stranger: done",
        "from-afar: done",
        "kernel: done",
        "edgepair: ready node=node1",
    ] {
        let found = guest.console.wait_for(line, BOOT_LIMIT);
        assert!(found.is_some(), "{line}\n{}", guest.console.transcript());
    }
    check_status(&desk);
    let refusal = desk.ask(&["logs", "stranger"]);
    assert!(refusal.contains("root") && !refusal.contains("node1 of lab"), "{refusal}");
    check_kernel(&desk);
    check_services(&desk, folder.path());
    for stranger in &strangers {
        is_refused(&desk, stranger);
    }
    let refused = |said: &str| said.matches("refused 192.168.77.").count();
    desk.until(&["logs", "nodeapi"], |said| refused(said) >= strangers.len());
    let said = desk.ask(&["logs", "nodeapi"]);
    assert_eq!(refused(&said), strangers.len(), "{said}");
    assert!(said.contains("asked: restart steady"), "{said}");
    desk.ask(&["poweroff", "--yes"]);
    assert!(guest.wait_for_end(BOOT_LIMIT).is_ok(), "{}", guest.console.transcript());

    let transcript = guest.console.transcript();
    assert!(transcript.contains("edgepair: powering off"), "{transcript}");
    assert!(!transcript.contains("Kernel panic"), "{transcript}");
    // Whoever writes to the disk is the last to stop, and hears what all others say until then.
    let last_words = state::log(&disk, "logd");
    assert!(last_words.ends_with("-- stopping\n"), "{last_words}\n{transcript}");
    assert!(state::log(&disk, "steady").contains("-- stopped\n"), "{transcript}");
    assert!(state::log(&disk, "node").contains("asked to power off"), "{transcript}");
    assert!(state::log(&disk, "nodeapi").contains("asked: poweroff"), "{transcript}");
    println!("{transcript}");
}
