//! A node on the desk: the real loop around real processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use init::clock;
use init::node::Node;
use init::services::{Places, Services, Setup};
use rustix::process::Signal;
use seed::manifest::{Manifest, Service};
use seed::section::ConsoleLevel;
use serde_json::Value;
use supervise::{ServiceStatus, State};
use sys::signals::SignalFd;

/// Generous, since it only matters when something hangs: nothing is asserted about speed.
const PATIENCE: Duration = Duration::from_secs(30);

const SCENARIO: &str = "EDGEPAIR_SCENARIO";

/// Runs a scenario in a process of its own. Without a writable cgroup tree it is skipped, which
/// isn't allowed where CI runs as root.
pub(crate) fn in_own_process(name: &str, scenario: impl FnOnce(Site)) {
    if std::env::var(SCENARIO).is_ok_and(|running| running == name) {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("adopting");
        scenario(Site::new());
        return;
    }
    let is_root = rustix::process::geteuid().is_root();
    if cgroup_root().is_none() || !is_root {
        assert!(!is_root || std::env::var_os("CI").is_none(), "CI must have writable cgroups");
        eprintln!("skipped: services need a writable cgroup2 tree and root");
        return;
    }
    let exe = std::env::current_exe().expect("this test");
    let mut command = Command::new(exe);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(SCENARIO, name);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("started");
    let tree = cgroup_root().expect("checked").join(tree_name(child.id()));
    let output = child.wait_with_output().expect("ended");
    remove_what_is_left(&tree);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "the scenario must have run: {said}");
}

fn tree_name(pid: u32) -> String {
    format!("edgepair-test-{pid}")
}

/// A scenario that fails leaves processes behind, which must not outlive it.
fn remove_what_is_left(tree: &Path) {
    if !tree.exists() {
        return;
    }
    fs::write(tree.join("cgroup.kill"), "1").expect("killed");
    let deadline = Instant::now() + PATIENCE;
    while remove(tree).is_err() {
        assert!(Instant::now() < deadline, "{} can't be removed", tree.display());
        std::thread::yield_now();
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    for inner in runs_in(folder) {
        remove(&inner)?;
    }
    fs::remove_dir(folder)
}

/// Where the second version of cgroups is mounted, if there is such a place.
pub(crate) fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let found = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    found.split(' ').nth(1).map(PathBuf::from)
}

/// A node with its services.
pub(crate) struct Site {
    pub(crate) node: Node,
    folder: tempfile::TempDir,
    tree_name: String,
}

impl Site {
    fn new() -> Self {
        // Before any thread could be started: they all shall block these signals.
        let signals = SignalFd::new(&[Signal::CHILD]).expect("signals");
        let manifest = Manifest::new("test", "0", "amd64", 0);
        let tree_name = tree_name(std::process::id());
        let folder = tempfile::tempdir().expect("a folder");
        Self { node: Node::new(manifest, signals), folder, tree_name }
    }

    /// A path in the site's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The tree of cgroups of this site.
    pub(crate) fn tree(&self) -> PathBuf {
        cgroup_root().expect("checked").join(&self.tree_name)
    }

    /// Begins services, written as in an overlay.
    pub(crate) fn begin(&mut self, toml: &str) {
        let table: Value = toml::from_str(toml).expect("TOML");
        let services: Vec<Service> =
            serde_json::from_value(table["services"].clone()).expect("services");
        let setup = Setup {
            services: &services,
            users: &[],
            context: Value::Null,
            places: Places {
                cgroups: cgroup_root().expect("checked"),
                tree_name: self.tree_name.clone(),
                notify: self.path("notify"),
            },
            console_level: ConsoleLevel::Debug,
            gives_rights: true,
        };
        let services = Services::new(setup).expect("they can begin");
        self.node.begin_services(services, clock::now());
    }

    pub(crate) fn services(&mut self) -> &mut Services {
        self.node.services().expect("begun")
    }

    pub(crate) fn status(&mut self, name: &str) -> ServiceStatus {
        let all = self.services().status();
        all.into_iter().find(|one| one.name == name).expect("a service")
    }

    pub(crate) fn state(&mut self, name: &str) -> State {
        self.status(name).state
    }

    pub(crate) fn pid(&mut self, name: &str) -> Option<i32> {
        let place = self.services().status().iter().position(|one| one.name == name);
        let pid = self.services().pid(place.expect("a service"))?;
        Some(pid.as_raw_nonzero().get())
    }

    /// Runs the loop until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.said());
            self.node.wait(None);
        }
    }

    pub(crate) fn until_state(&mut self, name: &str, state: State) {
        self.until(&format!("{name} {state:?}"), |site| site.state(name) == state);
    }

    /// Everything in the journal.
    pub(crate) fn said(&mut self) -> String {
        let journal = self.services().journal();
        journal.since(None, 0).map(|record| format!("{}\n", journal.show(record))).collect()
    }

    pub(crate) fn until_said(&mut self, text: &str) {
        self.until(text, |site| site.said().contains(text));
    }

    /// Takes the node down and looks whether anything is left.
    pub(crate) fn end(mut self) {
        self.node.ask(init::Ending::PowerOff, clock::now());
        let deadline = Instant::now() + PATIENCE;
        while self.node.wait(None).is_none() {
            assert!(Instant::now() < deadline, "it never ends\n{}", self.said());
        }
        // A group that was killed in the last moment is removed in a later turn.
        let tree = self.tree();
        self.until("no group of a run is left", |site| {
            site.services().tidy();
            let services = fs::read_dir(&tree).into_iter().flatten().flatten();
            services.filter(|one| one.path().is_dir()).all(|one| runs_in(&one.path()).is_empty())
        });
        for service in fs::read_dir(&tree).expect("our tree").flatten() {
            if service.path().is_dir() {
                fs::remove_dir(service.path()).expect("empty");
            }
        }
        fs::remove_dir(&tree).expect("empty");
    }
}

/// The groups of runs of a service.
pub(crate) fn runs_in(service: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(service).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Children of this process that are dead and not yet reaped, or alive.
pub(crate) fn children() -> usize {
    let pid = std::process::id();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("ours").flatten();
    let of_task = |task: fs::DirEntry| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().count()
    };
    tasks.map(of_task).sum()
}
