//! The user's own sites, as the cluster files that are shipped describe them: the files of each node
//! can be made, and HAProxy itself takes those that are for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::build::source::Reach;
use builder::cluster::create;
use builder::progress::Progress;
use builder::project;
use builder::tools::{HAPROXY, Unpacked};

fn haproxy() -> Unpacked {
    let cache = project::cache_folder(None).expect("a cache folder");
    let tools = HAPROXY.obtain(&cache, &Reach::default(), &Progress::new(false));
    tools.unwrap_or_else(|error| panic!("{error}"))
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// All that a node makes of its seed when it boots, below a folder.
fn render(seed: &Path, out: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_builder"));
    command.arg("render").arg("--quiet").args(["--image", "edge"]).arg("--with-secrets");
    run(command.arg("--seed").arg(seed).arg("--out").arg(out));
}

#[test]
fn every_node_of_the_examples_has_its_files_and_haproxy_takes_its_own() {
    let tools = haproxy();
    let place = tempfile::tempdir().expect("a temporary folder");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/clusters");
    let mut balancers = 0;
    for entry in fs::read_dir(examples).expect("images/clusters") {
        let example = entry.expect("an entry").path();
        let site = place.path().join(example.file_stem().expect("a name"));
        let created = create(&example, &site).unwrap_or_else(|error| panic!("{error}"));
        for seed in &created.seeds {
            let out: PathBuf = seed.with_extension("rendered");
            render(seed, &out);
            assert!(out.join("etc/hosts").exists(), "{}", seed.display());
            let configuration = out.join("etc/haproxy/haproxy.cfg");
            if configuration.exists() {
                run(tools.command("usr/sbin/haproxy").args(["-c", "-f"]).arg(&configuration));
                balancers += 1;
            }
        }
    }
    // Three masters, two pairs of load balancers twice over, and the one that is called nginx.
    assert_eq!(balancers, 10);
}
