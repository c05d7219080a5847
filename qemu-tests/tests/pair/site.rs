//! Two nodes, perhaps a witness: their files, their processes, and what the test does to them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use control::{Answer, PgRequest, Request};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::postgres::give_away;
use crate::support::{self, CLIENT, DATABASE, Files, ROLE, until};

const CLUSTER: &str = "plant3";
const NODES: [&str; 2] = ["node1", "node2"];
/// Nobody's number, as which everything runs if the test is root.
const NOBODY: &str = "65534";

/// Who decides when the nodes lose sight of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arbiter {
    /// The policy `standby-biased`: no window of time decides, so a machine that is short of time
    /// changes nothing but the gaps.
    Policy,
    /// A witness.
    Witness,
}

impl Arbiter {
    /// The ports of a site: both kinds run at a time.
    fn port(self, node: usize, what: Port) -> u16 {
        let base = if self == Self::Policy { 7000 } else { 7100 };
        base + [0, 10][node] + what as u16
    }
}

/// What a node listens with.
#[derive(Clone, Copy)]
enum Port {
    Gate,
    Heartbeat,
    Replication,
    Witness,
}

/// PostgreSQL, and this program where others may run it.
pub(crate) struct Programs {
    folder: TempDir,
    postgres: PathBuf,
}

impl Programs {
    pub(crate) fn obtain() -> Self {
        let folder = tempfile::Builder::new().prefix("pair-").tempdir().expect("a folder");
        give_away(folder.path());
        let postgres = qemu_tests::postgres::programs(folder.path());
        // The folder of the build may be closed to the user that the keepers run as.
        let own = std::env::current_exe().expect("a program");
        fs::copy(own, folder.path().join("pgkeeper")).expect("copied");
        Self { folder, postgres }
    }

    fn pgkeeper(&self) -> PathBuf {
        self.folder.path().join("pgkeeper")
    }
}

/// The site.
pub(crate) struct Site {
    folder: TempDir,
    postgres: PathBuf,
    pgkeeper: PathBuf,
    client: Files,
    arbiter: Arbiter,
    nodes: [Option<Child>; 2],
    /// How much of each node's log is from before the last thing that was done to it.
    read: [usize; 2],
    witness: Option<Child>,
}

impl Site {
    fn new(programs: &Programs, arbiter: Arbiter) -> Self {
        let folder = tempfile::Builder::new().prefix("site-").tempdir().expect("a folder");
        give_away(folder.path());
        let authority = support::Site::new("plant CA");
        let client = Files::write(folder.path(), CLIENT, &authority.identity(CLIENT));
        for number in [0, 1] {
            write_node(folder.path(), &authority, &programs.postgres, number, arbiter);
        }
        let mut site = Self {
            folder,
            postgres: programs.postgres.clone(),
            pgkeeper: programs.pgkeeper(),
            client,
            arbiter,
            nodes: [None, None],
            read: [0, 0],
            witness: None,
        };
        if arbiter == Arbiter::Witness {
            write_witness(site.folder.path(), &authority);
            let config = site.folder.path().join("witness/witness.toml");
            let words = ["witness", "--config"];
            let mut init = unprivileged(&site.pgkeeper);
            init.args(words).arg(&config).args(["init", CLUSTER]);
            succeeded(&init.output().expect("it starts"));
            let mut run = unprivileged(&site.pgkeeper);
            run.args(words).arg(&config).arg("run").stderr(site.log("witness"));
            site.witness = Some(run.spawn().expect("it starts"));
        }
        site
    }

    /// A site whose first node leads and whose second follows in sync.
    pub(crate) fn in_sync(programs: &Programs, arbiter: Arbiter) -> Self {
        let mut site = Self::new(programs, arbiter);
        site.start(0);
        site.start(1);
        site.await_state(0, "primary, in sync");
        site.await_state(1, "standby, in sync");
        site.await_enrolled();
        site
    }

    fn log(&self, name: &str) -> File {
        let path = self.folder.path().join(name).join("log");
        File::options().create(true).append(true).open(path).expect("a log")
    }

    /// Everything that a node has said since something was last done to it.
    fn said(&self, node: usize) -> String {
        let path = self.folder.path().join(NODES[node]).join("log");
        let all = fs::read_to_string(path).unwrap_or_default();
        all.get(self.read[node]..).unwrap_or_default().to_owned()
    }

    /// The same of a node that must not have ended.
    pub(crate) fn said_alive(&mut self, node: usize) -> String {
        let ended = self.nodes[node].as_mut().and_then(|child| child.try_wait().expect("ours"));
        assert!(ended.is_none(), "{} ended: {ended:?}", NODES[node]);
        self.said(node)
    }

    pub(crate) fn start(&mut self, node: usize) {
        self.forget(node);
        let folder = self.folder.path().join(NODES[node]);
        let mut command = unprivileged(&self.pgkeeper);
        command.arg("run").arg(folder.join("pgkeeper.toml")).stdin(Stdio::null());
        let log = self.log(NODES[node]);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.nodes[node] = Some(command.spawn().expect("it starts"));
    }

    /// What a node has said so far is from before.
    pub(crate) fn forget(&mut self, node: usize) {
        self.read[node] += self.said(node).len();
    }

    /// Waits until the last state that a node has told is this one.
    pub(crate) fn await_state(&mut self, node: usize, state: &str) {
        let arrived = format!("{state}, was ");
        until(&format!("{} is {state}", NODES[node]), || {
            let said = self.said_alive(node);
            let last = said.lines().rfind(|line| line.contains(", was "));
            last.is_some_and(|line| line.starts_with(&arrived))
        });
    }

    /// Waits until the pair has filled the witness's register, if there is one: an empty one grants
    /// nothing, so a leader that fails before is waited for.
    fn await_enrolled(&self) {
        if self.witness.is_none() {
            return;
        }
        let config = self.folder.path().join("witness/witness.toml");
        until("the witness is enrolled", || {
            let mut show = unprivileged(&self.pgkeeper);
            show.args(["witness", "--config"]).arg(&config).arg("show");
            succeeded(&show.output().expect("it starts")).contains("leads with its standby")
        });
    }

    fn process(&self, node: usize) -> Pid {
        let child = self.nodes[node].as_ref().expect("it runs");
        Pid::from_child(child)
    }

    /// The keeper and everything that it started.
    fn family(&self, node: usize) -> Vec<Pid> {
        let mut all = vec![self.process(node)];
        let mut seen = 0;
        while let Some(parent) = all.get(seen) {
            let tasks = format!("/proc/{}/task", parent.as_raw_nonzero());
            for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let numbers = children.unwrap_or_default();
                let numbers = numbers.split_whitespace().filter_map(|number| number.parse().ok());
                all.extend(numbers.filter_map(Pid::from_raw));
            }
            seen += 1;
        }
        all
    }

    fn signal_all(&self, node: usize, signal: Signal) {
        for process in self.family(node) {
            let _gone = kill_process(process, signal);
        }
    }

    /// SIGKILL for the keeper alone; its PostgreSQL has to end by itself.
    pub(crate) fn kill(&mut self, node: usize) {
        self.forget(node);
        let mut child = self.nodes[node].take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(&mut self, node: usize) {
        kill_process(self.process(node), Signal::TERM).expect("told");
        let mut child = self.nodes[node].take().expect("it runs");
        let status = child.wait().expect("ended");
        assert!(status.success(), "{}: {status}", NODES[node]);
        self.await_no_postgres(node);
    }

    /// Orders something, as `nodectl` does.
    pub(crate) fn order(&self, node: usize, request: PgRequest) -> Answer {
        let path = self.folder.path().join(NODES[node]).join("control.sock");
        let mut stream = UnixStream::connect(path).expect("the keeper listens");
        stream.write_all(&Request::Pg(request).to_line().expect("short")).expect("asked");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        Answer::parse(answer.trim_ascii_end()).expect("understood")
    }

    pub(crate) fn pause(&mut self, node: usize) {
        self.forget(node);
        self.signal_all(node, Signal::STOP);
    }

    pub(crate) fn go_on(&mut self, node: usize) {
        self.signal_all(node, Signal::CONT);
    }

    /// Waits until nothing works in a node's data.
    pub(crate) fn await_no_postgres(&self, node: usize) {
        let data = self.folder.path().join(NODES[node]).join("postgres/data");
        let works_there = |entry: fs::DirEntry| {
            fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder == data)
        };
        until("PostgreSQL is gone", || {
            !fs::read_dir("/proc").expect("processes").flatten().any(works_there)
        });
    }

    /// How libpq finds the primary among the gates of these nodes.
    pub(crate) fn conninfo(&self, nodes: &[usize]) -> String {
        let (hosts, ports): (Vec<_>, Vec<_>) = nodes
            .iter()
            .map(|node| ("127.0.0.1", self.arbiter.port(*node, Port::Gate).to_string()))
            .unzip();
        format!(
            "host={} port={} user={ROLE} dbname={DATABASE} sslmode=verify-full sslrootcert={} \
             sslcert={} sslkey={} connect_timeout=2",
            hosts.join(","),
            ports.join(","),
            self.client.ca.display(),
            self.client.certificate.display(),
            self.client.key.display(),
        )
    }

    pub(crate) fn psql(&self, conninfo: &str) -> Command {
        let mut command = Command::new(self.postgres.join("psql"));
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo]);
        command
    }

    /// What a client hears that comes to this node's gate.
    pub(crate) fn refusal(&self, node: usize) -> String {
        let mut psql = self.psql(&self.conninfo(&[node]));
        let output = psql.args(["-c", "select 1"]).output().expect("psql");
        assert!(!output.status.success(), "it let somebody in");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What the ledger's table has.
    pub(crate) fn rows(&self) -> BTreeSet<u64> {
        let mut psql = self.psql(&self.conninfo(&[0, 1]));
        let output = psql.args(["-c", "select number from ledger"]).output().expect("psql");
        succeeded(&output).lines().map(|line| line.parse().expect("a number")).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in NODES {
                let log = fs::read_to_string(self.folder.path().join(name).join("log"));
                println!("---- {name}\n{}", log.unwrap_or_default());
            }
        }
        for node in [0, 1] {
            if self.nodes[node].is_some() {
                // One that stands still can't be waited for otherwise.
                self.signal_all(node, Signal::KILL);
            }
        }
        for child in self.nodes.iter_mut().chain([&mut self.witness]).flatten() {
            let _gone = child.kill();
            let _ended = child.wait();
        }
    }
}

fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// PostgreSQL, and so its keeper, refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]).arg(program);
    }
    command.current_dir("/").env_remove("NOTIFY_SOCKET");
    command
}

/// Gives a folder and all in it to whom everything runs as.
fn give(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        let owner = format!("{NOBODY}:{NOBODY}");
        let given = Command::new("chown").args(["-R", &owner]).arg(folder).status();
        assert!(given.expect("chown").success());
    }
}

fn write_node(
    folder: &Path,
    authority: &support::Site,
    postgres: &Path,
    number: usize,
    arbiter: Arbiter,
) {
    let name = NODES[number];
    let home = folder.join(name);
    for part in ["state", "postgres", "run"] {
        fs::create_dir_all(home.join(part)).expect("a folder");
    }
    let own = Files::write(&home, name, &authority.identity(name));
    let calls = Files::write(&home, "replication", &authority.identity("replication"));
    let failover = match arbiter {
        Arbiter::Policy => "policy = 'standby-biased'".to_owned(),
        Arbiter::Witness => {
            let port = arbiter.port(0, Port::Witness);
            format!("witness = {{ address = '127.0.0.1', port = {port} }}")
        }
    };
    let peer = 1 - number;
    let beat = |node| format!("127.0.0.1:{}", arbiter.port(node, Port::Heartbeat));
    let replication = |node| arbiter.port(node, Port::Replication);
    let at = |part: &str| home.join(part).display().to_string();
    let text = format!(
        "cluster = '{CLUSTER}'\nnode = '{name}'\npair = ['node1', 'node2']\nstate = '{}'\n\
         heartbeat_key = '0123456789abcdef0123456789abcdef'\npermit_socket = '{}'\n\
         control_socket = '{}'\n\
         [identity]\nca_certificate = '{}'\ncertificate = '{}'\nkey = '{}'\n\
         replication_certificate = '{}'\nreplication_key = '{}'\n\
         [failover]\n{failover}\n\
         [[channels]]\nname = 'ipv4'\nlocal = '{}'\npeer = '{}'\n\
         [gate]\nlisten = '127.0.0.1:{}'\n\
         [postgres]\nprograms = '{}'\nfolder = '{}'\nsockets = '{}'\nlisten = ['127.0.0.1']\n\
         port = {}\npeer_port = {}\npeers = ['127.0.0.1']\ndatabase = '{DATABASE}'\n\
         max_connections = 40\nshared_buffers = 33554432\n\
         [[postgres.users]]\nrole = '{ROLE}'\nclients = ['{CLIENT}']\n",
        at("state"),
        at("permit.sock"),
        at("control.sock"),
        own.ca.display(),
        own.certificate.display(),
        own.key.display(),
        calls.certificate.display(),
        calls.key.display(),
        beat(number),
        beat(peer),
        arbiter.port(number, Port::Gate),
        postgres.display(),
        at("postgres"),
        at("run"),
        replication(number),
        replication(peer),
    );
    fs::write(home.join("pgkeeper.toml"), text).expect("written");
    for private in ["state", "postgres", "run"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(home.join(private), mode).expect("private");
    }
    give(&home);
}

fn write_witness(folder: &Path, authority: &support::Site) {
    let home = folder.join("witness");
    fs::create_dir_all(home.join("state")).expect("a folder");
    let own = Files::write(&home, "witness1", &authority.identity("witness1"));
    let port = Arbiter::Witness.port(0, Port::Witness);
    let text = format!(
        "listen = '127.0.0.1:{port}'\nstate = 'state'\n[[clusters]]\nname = '{CLUSTER}'\n\
         nodes = ['node1', 'node2']\nca_certificate = '{}'\ncertificate = '{}'\nkey = '{}'\n",
        own.ca.display(),
        own.certificate.display(),
        own.key.display(),
    );
    fs::write(home.join("witness.toml"), text).expect("written");
    give(&home);
}
