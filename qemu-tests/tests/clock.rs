//! The node's clock against a real time server: Debian's chronyd, without any right to a clock. The
//! machine whose clock is kept exists only here, so no test ever touches the host's.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use builder::build::source::Reach;
use builder::progress::Progress;
use builder::project;
use builder::tools::TIME_SERVER;
use clockd::ntp::{Moment, NANOS_PER_SECOND, Nanos};
use clockd::{Floor, Host, Machine, Shell, config};
use sys::clock::ClockError;
use sys::notify::Notifier;
use tempfile::TempDir;

const MILLISECOND: Nanos = NANOS_PER_SECOND / 1000;
/// Far more than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// On one machine, question and answer take less than this even when it is busy; what is corrected
/// is several times as much.
const CLOSE: Nanos = 200 * MILLISECOND;

/// A machine whose wall clock is off from the host's, and whose corrections stay here.
struct VirtualMachine {
    host: Host,
    off: Nanos,
    steps: Vec<Nanos>,
    slews: usize,
    battery_set: usize,
}

impl VirtualMachine {
    fn new(off: Nanos) -> Self {
        let host = Host { battery: PathBuf::from("/nonexistent/rtc") };
        Self { host, off, steps: Vec::new(), slews: 0, battery_set: 0 }
    }
}

impl Machine for VirtualMachine {
    fn moment(&mut self) -> Moment {
        let moment = self.host.moment();
        Moment { wall: moment.wall + self.off, ..moment }
    }

    fn cookie(&mut self) -> io::Result<u64> {
        self.host.cookie()
    }

    fn step(&mut self, by: Nanos) -> Result<(), ClockError> {
        self.steps.push(by);
        self.off += by;
        Ok(())
    }

    fn slew(&mut self, by: Nanos) -> Result<(), ClockError> {
        self.slews += 1;
        // As the kernel would within the two seconds until the next answer.
        self.off += by.clamp(-MILLISECOND, MILLISECOND);
        Ok(())
    }

    fn tune(&mut self, _: i64) -> Result<(), ClockError> {
        Ok(())
    }

    fn declare(&mut self, _: Nanos) -> Result<(), ClockError> {
        Ok(())
    }

    fn set_battery(&mut self) -> Result<(), ClockError> {
        self.battery_set += 1;
        Ok(())
    }
}

/// A running chronyd, ended with the test.
struct TimeServer {
    child: Child,
    port: u16,
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl TimeServer {
    /// Serves the host's time, or, without `local`, says that it has none.
    fn start(folder: &Path, has_time: bool) -> Self {
        let cache = project::cache_folder(None).expect("a cache folder");
        let tool = TIME_SERVER.obtain(&cache, &Reach::default(), &Progress::new(false));
        let tool = tool.unwrap_or_else(|error| panic!("{error}"));
        let port = free_port();
        let local = if has_time { "local stratum 8\n" } else { "" };
        let path = folder.join(format!("chrony-{port}.conf"));
        let pid = folder.join(format!("chrony-{port}.pid"));
        let config = format!(
            "port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.0/8\ncmdport 0\nbindcmdaddress /\n\
             pidfile {}\n{local}",
            pid.display()
        );
        fs::write(&path, config).expect("written");
        let mut command = Command::new(tool.program("chronyd"));
        // -x: no control of any clock. -U: no root. -d: no daemon.
        command.args(["-x", "-U", "-d", "-u"]).arg(user_name()).arg("-f").arg(&path);
        let child = command.stderr(Stdio::null()).spawn().expect("started");
        Self { child, port }
    }
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// Who runs this test: chronyd wants to become somebody, and that one it may.
fn user_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A shell over a virtual machine, and what it leaves.
struct Bench {
    folder: TempDir,
    shell: Shell<VirtualMachine>,
    /// Nothing ever comes here: the bench ends by itself.
    ending: (UnixStream, UnixStream),
}

impl Bench {
    fn new(folder: TempDir, config: &str, off: Nanos) -> Self {
        let config = config::parse(config).expect("a good configuration");
        let saved = folder.path().join("clock");
        let (machine, notifier) = (VirtualMachine::new(off), Notifier::from_environment());
        let shell = Shell::new(config, &Floor::default(), saved, machine, notifier);
        let shell = shell.expect("a shell");
        Self { folder, shell, ending: UnixStream::pair().expect("a pair") }
    }

    fn run_until(&mut self, done: impl Fn(&VirtualMachine) -> bool) {
        let start = Instant::now();
        while !done(self.shell.machine()) {
            assert!(!self.shell.turn(self.ending.0.as_fd()).expect("a turn"));
            assert!(start.elapsed() < PATIENCE, "not in time");
        }
    }
}

#[test]
fn a_clock_that_is_off_is_stepped_to_the_servers_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TimeServer::start(folder.path(), true);
    // The host's time is the truth here; a name is looked up on the way.
    let config = format!("server localhost:{}\n", server.port);
    let mut bench = Bench::new(folder, &config, -3 * NANOS_PER_SECOND);
    bench.run_until(|machine| machine.steps.len() == 1 && machine.slews >= 3);
    let machine = bench.shell.machine();
    assert!((machine.steps[0] - 3 * NANOS_PER_SECOND).abs() < CLOSE, "{:?}", machine.steps);
    assert!(machine.off.abs() < CLOSE, "{}", machine.off);
    assert_eq!(machine.battery_set, 1);
    bench.shell.finish();
    let saved = fs::read_to_string(bench.folder.path().join("clock")).expect("saved");
    let saved: u64 = saved.trim_end().parse().expect("a number");
    let now = sys::clock::wall().as_secs();
    // The machine's clock is a few milliseconds off ours, perhaps across a second's end.
    assert!(saved <= now + 1 && saved + 5 > now, "{saved} at {now}");
}

#[test]
fn a_server_without_time_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let lost = TimeServer::start(folder.path(), false);
    let good = TimeServer::start(folder.path(), true);
    let config =
        format!("server 127.0.0.1:{}\nserver 127.0.0.1:{}\nstep 500\n", lost.port, good.port);
    let mut bench = Bench::new(folder, &config, NANOS_PER_SECOND);
    // One of two is no majority, so this takes until the start is over.
    bench.run_until(|machine| machine.steps.len() == 1);
    assert!(bench.shell.machine().off.abs() < CLOSE);
}
