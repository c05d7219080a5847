//! The daemons under test, each in its node: ours, and Debian's keepalived.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use builder::build::source::Reach;
use builder::node;
use builder::progress::Progress;
use builder::project;
use builder::tools::{KEEPALIVED, Unpacked};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Node, eventually};

/// What both daemons understand; the tests say everything in these words.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub version: u8,
    pub vip: IpAddr,
    /// Further addresses of the same router.
    pub more: Vec<IpAddr>,
    pub priority: u8,
    /// In hundredths of a second; a multiple of 100 for version 2.
    pub centiseconds: u16,
    pub preempt: bool,
    /// RFC 9568's checksum over IPv4, and not keepalived's own form.
    pub rfc_checksum: bool,
    pub password: Option<&'static str>,
    pub peers: Vec<IpAddr>,
    /// Further lines of our own file.
    pub extra: String,
}

impl Router {
    pub(crate) fn v3(vip: IpAddr, priority: u8) -> Self {
        Self {
            version: 3,
            vip,
            more: Vec::new(),
            priority,
            centiseconds: 10,
            preempt: true,
            rfc_checksum: true,
            password: None,
            peers: Vec::new(),
            extra: String::new(),
        }
    }

    /// All addresses, in the order of the file.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [self.vip].into_iter().chain(self.more.iter().copied())
    }

    pub(crate) fn vipd(&self, control: &Path, permit: &Path) -> String {
        let prefix = if self.vip.is_ipv4() { 24 } else { 64 };
        let checksum = if self.rfc_checksum { "rfc9568" } else { "pseudo" };
        let mut text = format!(
            "control = '{}'\npermit_socket = '{}'\n[[instances]]\nname = \"t\"\n\
             interface = \"eth0\"\nvrid = 51\naddresses = {:?}\nversion = {}\n\
             priority = {}\ninterval = \"{}cs\"\npreempt = {}\nchecksum = \"{checksum}\"\n\
             peers = {:?}\n{}\n",
            control.display(),
            permit.display(),
            self.addresses().map(|vip| format!("{vip}/{prefix}")).collect::<Vec<_>>(),
            self.version,
            self.priority,
            self.centiseconds,
            self.preempt,
            self.peers.iter().map(IpAddr::to_string).collect::<Vec<_>>(),
            self.extra
        );
        if let Some(password) = self.password {
            text = text.replace(
                "version = 2",
                &format!("version = 2\nauthentication = \"password\"\npassword = \"{password}\""),
            );
        }
        text
    }

    fn keepalived(&self, own: IpAddr) -> String {
        let prefix = if self.vip.is_ipv4() { 24 } else { 64 };
        let interval = f64::from(self.centiseconds) / 100.0;
        let mut text = format!(
            "global_defs {{\n vrrp_version {}\n}}\nvrrp_instance t {{\n state BACKUP\n \
             interface eth0\n virtual_router_id 51\n priority {}\n advert_int {interval}\n",
            self.version, self.priority
        );
        if !self.preempt {
            text += " nopreempt\n";
        }
        if self.version == 3 && self.vip.is_ipv4() && self.rfc_checksum {
            text += " v3_checksum_as_v2\n";
        }
        if let Some(password) = self.password {
            text += &format!(" authentication {{\n auth_type PASS\n auth_pass {password}\n }}\n");
        }
        if !self.peers.is_empty() {
            let peers: String = self.peers.iter().map(|peer| format!("  {peer}\n")).collect();
            text += &format!(" unicast_src_ip {own}\n unicast_peer {{\n{peers} }}\n");
        }
        let addresses: String = self.addresses().map(|vip| format!("  {vip}/{prefix}\n")).collect();
        text + &format!(" virtual_ipaddress {{\n{addresses} }}\n}}\n")
    }
}

/// A running daemon. It ends with its test, whatever becomes of that.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
}

pub(crate) const KEEPALIVED_WORD: &str = "keepalived";

impl Daemon {
    /// Ours.
    pub(crate) fn vipd(node: &Node, router: &Router) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = router.vipd(&folder.path().join("sock"), &folder.path().join("permit"));
        Self::vipd_with(node, folder, &text)
    }

    pub(crate) fn vipd_with(node: &Node, folder: TempDir, text: &str) -> Self {
        let config = folder.path().join("vipd.toml");
        fs::write(&config, text).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("created");
        let mut command = Command::new(vipd());
        command.arg("run").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = node.spawn(&mut command);
        let started = Self { child, folder };
        eventually("vipd answers on its control socket", || {
            assert!(started.folder.path().join("log").exists());
            started.try_status().is_some() || started.has_ended()
        });
        assert!(!started.has_ended(), "vipd ended at once:\n{}", started.log());
        started
    }

    pub(crate) fn keepalived(node: &Node, router: &Router) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::keepalived_with(node, folder, &router.keepalived(node.address))
    }

    fn keepalived_with(node: &Node, folder: TempDir, text: &str) -> Self {
        let config = folder.path().join("keepalived.conf");
        fs::write(&config, text).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("created");
        let mut command = keepalived();
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp"]);
        command.arg("--use-file").arg(&config);
        // Several run at a time, in namespaces that share one folder for such files.
        for option in ["pid", "vrrp_pid", "checkers_pid", "bfd_pid"] {
            command.arg(format!("--{option}")).arg(folder.path().join(option));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("cloned")).stderr(log);
        let child = node.spawn(&mut command);
        let started = Self { child, folder };
        eventually("keepalived has read its configuration", || {
            let up = started.log().contains("Entering BACKUP STATE");
            up || started.has_ended()
        });
        assert!(!started.has_ended(), "keepalived ended at once:\n{}", started.log());
        started
    }

    /// Either, with many routers at the shortest interval.
    pub(crate) fn with_many(word: &str, node: &Node, routers: &[(u8, IpAddr)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let one = Router { centiseconds: 1, ..Router::v3(node.address, 100) };
        let of = |vip: IpAddr| Router { vip, ..one.clone() };
        if word == KEEPALIVED_WORD {
            let texts = routers.iter().map(|(vrid, vip)| {
                let text = of(*vip).keepalived(node.address);
                let name = format!("virtual_router_id {vrid}\n");
                text.replace("virtual_router_id 51\n", &name)
                    .replace("vrrp_instance t ", &format!("vrrp_instance t{vrid} "))
                    .replace("global_defs {\n vrrp_version 3\n}\n", "")
            });
            let head = "global_defs {\n vrrp_version 3\n}\n".to_owned();
            return Self::keepalived_with(node, folder, &texts.fold(head, |all, one| all + &one));
        }
        let (control, permit) = (folder.path().join("sock"), folder.path().join("permit"));
        let mut text = format!("control = '{}'\n", control.display());
        for (vrid, vip) in routers {
            let whole = of(*vip).vipd(&control, &permit);
            let at = whole.find("[[instances]]").expect("one");
            let own = whole[at..].replace("vrid = 51\n", &format!("vrid = {vrid}\n"));
            text += &own.replace("name = \"t\"", &format!("name = \"t{vrid}\""));
        }
        Self::vipd_with(node, folder, &text)
    }

    /// Processor time of the daemon and its children so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let ticks: u64 = self
            .family()
            .iter()
            .map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let after = stat.rsplit(')').next().unwrap_or_default();
                let fields: Vec<&str> = after.split_whitespace().collect();
                let ticks =
                    |at: usize| fields.get(at).and_then(|field| field.parse().ok()).unwrap_or(0);
                ticks(11) + ticks(12)
            })
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory of the daemon and its children, in kilobytes.
    pub(crate) fn resident(&self) -> u64 {
        let of = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).map(str::to_owned);
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
        };
        self.family().iter().map(of).sum()
    }

    fn family(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|number| number.parse().ok());
        [pid].into_iter().chain(children).collect()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let mut status = None;
        eventually("the daemon ends", || {
            status = self.child.try_wait().expect("ours");
            status.is_some()
        });
    }

    /// Ends it at once, with its children, so that nobody can tidy up.
    pub(crate) fn kill(mut self) {
        self.kill_all();
    }

    fn kill_all(&mut self) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        // The parent first stands still: it would end its children in good order otherwise.
        let _ = kill_process(self.pid(), Signal::STOP);
        let numbers = children.unwrap_or_default();
        let numbers = numbers.split_whitespace().filter_map(|number| number.parse().ok());
        for child in numbers.filter_map(Pid::from_raw) {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Freezes it, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Our daemon's status of its one router.
    pub(crate) fn status(&self) -> Value {
        let status = self.try_status();
        let status = status.unwrap_or_else(|| panic!("no status:\n{}", self.log()));
        status["routers"][0].clone()
    }

    pub(crate) fn is_active(&self) -> bool {
        self.status()["state"] == "active"
    }

    /// A metric of our daemon's one router.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.ask("metrics").expect("an answer");
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    fn try_status(&self) -> Option<Value> {
        serde_json::from_str(&self.ask("json")?).ok()
    }

    fn ask(&self, word: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.path().join("sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(format!("{word}\n").as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of process {}:\n{}", self.child.id(), self.log());
        }
        self.kill_all();
    }
}

/// Our daemon, built as the tests are.
pub(crate) fn vipd() -> &'static Path {
    static VIPD: OnceLock<PathBuf> = OnceLock::new();
    VIPD.get_or_init(|| {
        if let Some(given) = std::env::var_os("VIPD") {
            return given.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let mut build = node::cargo();
        build.current_dir(root).args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--bin",
            "vipd",
        ]);
        let tests = std::env::current_exe().expect("our own path");
        let folder = tests.parent().and_then(Path::parent).expect("cargo's folder");
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "vipd can't be built");
        folder.join("vipd")
    })
}

static TOOL: OnceLock<Unpacked> = OnceLock::new();

/// Fetches keepalived from Debian's packages, unless the cache has it.
pub(crate) fn obtain_keepalived() -> Result<(), String> {
    let cache = project::cache_folder(None).map_err(|error| error.to_string())?;
    let tool = KEEPALIVED.obtain(&cache, &Reach::default(), &Progress::new(false));
    let _ = TOOL.set(tool.map_err(|error| error.to_string())?);
    Ok(())
}

/// Lays keepalived's part of `/etc` over the machine's, for this process and its children only.
pub(crate) fn show_keepalived_its_files() -> Result<(), String> {
    let folder = TOOL.get().expect("obtained at the start").file("etc");
    let layers = format!("lowerdir={}:/etc", folder.display());
    let layers = CString::new(layers).expect("a path without zeros");
    mount("overlay", "/etc", "overlay", MountFlags::RDONLY, layers.as_c_str())
        .map_err(|error| format!("nothing can be laid over /etc: {error}"))
}

/// keepalived, run by its own loader.
fn keepalived() -> Command {
    TOOL.get().expect("obtained at the start").command("usr/sbin/keepalived")
}

/// Starts one or the other, by its word.
pub(crate) fn start(word: &str, node: &Node, router: &Router) -> Daemon {
    if word == KEEPALIVED_WORD {
        Daemon::keepalived(node, router)
    } else {
        Daemon::vipd(node, router)
    }
}
