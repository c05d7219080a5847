//! Two nodes on this machine, each with a driver and a real PostgreSQL.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use failover::{Lsn, PgCommand, PgReport, Ticket, Timeline};
use pgkeeper::gate;
use pgkeeper::gate::hba::SUPERUSER;
use pgkeeper::postgres::{Certificates, Driver, PEER_CERTIFICATE_NAME, Report, Settings, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use crate::support::{CLIENT, DATABASE, Files, ROLE, Site};

/// Far longer than anything takes here.
const PATIENCE: Duration = Duration::from_mins(2);

/// A role that only the second node's seed has.
pub(crate) const NEWCOMER: &str = "newcomer";

/// A node.
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) driver: Driver,
    tickets: u64,
    /// The newest status.
    pub(crate) status: Option<PgReport>,
    /// What else was reported and not asked for.
    pub(crate) news: Vec<PgReport>,
}

/// Settings of both nodes.
pub(crate) fn settings(folder: &Path, bin: &Path) -> [Settings; 2] {
    let site = Site::new("plant CA");
    let ports = free_ports();
    let make = |name: &str, own: usize, peer_name: &str| {
        let home = folder.join(name);
        let (data, run) = (home.join("state"), home.join("run"));
        fs::create_dir_all(&data).expect("a folder");
        fs::create_dir_all(&run).expect("a folder");
        let serves = Files::write(&home, name, &site.identity(name));
        let calls = Files::write(&home, "replication", &site.identity(PEER_CERTIFICATE_NAME));
        let user = gate::User { role: ROLE.to_owned(), clients: vec![CLIENT.to_owned()] };
        Settings {
            programs: bin.to_owned(),
            folder: data,
            socket_folder: run,
            name: name.to_owned(),
            peer_name: peer_name.to_owned(),
            peer_addresses: vec![IpAddr::from(Ipv4Addr::LOCALHOST)],
            listen: vec![IpAddr::from(Ipv4Addr::LOCALHOST)],
            replication_port: ports[own],
            peer_port: ports[1 - own],
            certificates: Certificates {
                ca: serves.ca,
                certificate: serves.certificate,
                key: serves.key,
                replication_certificate: calls.certificate,
                replication_key: calls.key,
            },
            database: DATABASE.to_owned(),
            users: vec![User { user, owner: true }],
            max_connections: 40,
            shared_buffers: 32 << 20,
            synchronous: true,
            settings: [("work_mem".to_owned(), "5MB".to_owned())].into(),
            archive_command: None,
        }
    };
    let (one, mut two) = (make("node-1", 0, "node-2"), make("node-2", 1, "node-1"));
    // The second node has a newer seed.
    let user = gate::User { role: NEWCOMER.to_owned(), clients: vec![CLIENT.to_owned()] };
    two.users.push(User { user, owner: false });
    [one, two]
}

/// Two different ones, since neither is given back before both are known.
fn free_ports() -> [u16; 2] {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let held = [bind(), bind()];
    held.map(|listener| listener.local_addr().expect("bound").port())
}

impl Node {
    pub(crate) fn start(settings: &Settings) -> Self {
        let name = settings.name.clone();
        let say = Box::new(move |line: &str| eprintln!("{name}: {line}"));
        let driver = Driver::start(settings.clone(), say).expect("a driver");
        let settings = settings.clone();
        Self { settings, driver, tickets: 0, status: None, news: Vec::new() }
    }

    /// Gives a command and doesn't wait.
    pub(crate) fn begin(&mut self, command: PgCommand) -> Ticket {
        self.tickets += 1;
        self.driver.command(Ticket(self.tickets), command);
        Ticket(self.tickets)
    }

    /// Gives a command and waits until it is done.
    pub(crate) fn run(&mut self, command: PgCommand) -> (Timeline, Lsn) {
        let done = self.try_run(command);
        done.unwrap_or_else(|| panic!("{}: {command:?} failed", self.settings.name))
    }

    /// Gives a command and waits for its answer; none if it failed.
    pub(crate) fn try_run(&mut self, command: PgCommand) -> Option<(Timeline, Lsn)> {
        let (ticket, begin) = (self.begin(command), Instant::now());
        loop {
            match self.next() {
                PgReport::Done(done, timeline, lsn) if done == ticket => {
                    eprintln!("{}: {command:?} took {:?}", self.settings.name, begin.elapsed());
                    return Some((timeline, lsn));
                }
                PgReport::Failed(failed) if failed == ticket => return None,
                report => self.take(report),
            }
        }
    }

    /// Takes in what was reported; says whether this command's answer is, or was, among it.
    pub(crate) fn has_answered(&mut self, ticket: Ticket) -> bool {
        while let Some(report) = self.driver.next_report() {
            match report {
                Report::Postgres(report) => self.take(report),
                other @ Report::RevisionFenced(_) => panic!("nobody asked for {other:?}"),
            }
        }
        self.news.iter().any(|news| match news {
            PgReport::Done(answered, ..) | PgReport::Failed(answered) => *answered == ticket,
            _ => false,
        })
    }

    fn take(&mut self, report: PgReport) {
        match report {
            PgReport::Status { .. } => self.status = Some(report),
            other => self.news.push(other),
        }
    }

    /// The next report of PostgreSQL; the descriptor says when there is one.
    fn next(&self) -> PgReport {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.driver.next_report() {
                Some(Report::Postgres(report)) => return report,
                Some(other) => panic!("nobody asked for {other:?}"),
                None => {}
            }
            assert!(Instant::now() < end, "{}: no report", self.settings.name);
            self.await_news(end);
        }
    }

    fn await_news(&self, end: Instant) {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()));
        let mut polled = [PollFd::from_borrowed_fd(self.driver.as_fd(), PollFlags::IN)];
        poll(&mut polled, Some(&left.expect("short"))).expect("polled");
    }

    /// Has kine's revision moved, and waits until it is.
    pub(crate) fn fence_revision(&mut self) {
        self.tickets += 1;
        self.driver.fence_revision(Ticket(self.tickets));
        let fenced = Report::RevisionFenced(Ticket(self.tickets));
        let end = Instant::now() + PATIENCE;
        while self.driver.next_report() != Some(fenced) {
            assert!(Instant::now() < end, "the revision isn't moved");
            self.await_news(end);
        }
    }

    /// Takes in reports until one of them is what is wanted.
    pub(crate) fn await_report(&mut self, what: &str, wanted: impl Fn(&PgReport) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "{}: still not: {what}", self.settings.name);
            let report = self.next();
            self.take(report);
            if wanted(&report) {
                return;
            }
        }
    }

    /// Takes in reports until the peer streams and has flushed up to there.
    pub(crate) fn await_peer(&mut self, at: Lsn) {
        let there = |report: &PgReport| match report {
            PgReport::Status { peer, .. } => peer.is_some_and(|peer| peer >= at),
            _ => false,
        };
        self.await_report("the peer has flushed everything", there);
    }

    pub(crate) fn psql(&self, role: &str, query: &str) -> Command {
        let mut command = Command::new(self.settings.programs.join("psql"));
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", role, "-d", DATABASE, "-h"]);
        command.arg(&self.settings.socket_folder);
        command.args(["-p", &self.settings.replication_port.to_string(), "-c", query]);
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Asks as a client does that the gate let in.
    pub(crate) fn ask(&self, query: &str) -> String {
        self.ask_follower(query).unwrap_or_else(|| panic!("{}: not consistent", self.settings.name))
    }

    /// The same as who may do everything.
    pub(crate) fn ask_superuser(&self, query: &str) -> String {
        let answer = self.answer(SUPERUSER, query);
        answer.unwrap_or_else(|| panic!("{}: not consistent", self.settings.name))
    }

    /// Asks one that may still be replaying towards its first consistent state, since it has
    /// started, and refuses everybody until it is there; none while it refuses.
    pub(crate) fn ask_follower(&self, query: &str) -> Option<String> {
        self.answer(ROLE, query)
    }

    fn answer(&self, role: &str, query: &str) -> Option<String> {
        let output = self.psql(role, query).output().expect("psql");
        let error = String::from_utf8_lossy(&output.stderr);
        if error.contains("not yet accepting connections") {
            return None;
        }
        assert!(output.status.success(), "{}: {query}: {error}", self.settings.name);
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Asks, and waits for the answer some other time.
    pub(crate) fn ask_later(&self, query: &str) -> Child {
        self.psql(ROLE, query).spawn().expect("psql")
    }

    /// How many clients' commits wait for the peer.
    pub(crate) fn waiting(&self) -> String {
        self.ask(
            "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and usename = \
             current_user",
        )
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.settings.folder.join("data")
    }

    /// The postmaster, as its own file says.
    pub(crate) fn postmaster(&self) -> i32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        file.lines().next().and_then(|line| line.parse().ok()).expect("a number")
    }

    /// All of PostgreSQL's processes, the postmaster first.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let postmaster = self.postmaster();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = fs::read_to_string(children).expect("it runs");
        let children = children.split_whitespace().map(|it| it.parse().expect("a number"));
        [postmaster].into_iter().chain(children).filter_map(Pid::from_raw).collect()
    }
}
