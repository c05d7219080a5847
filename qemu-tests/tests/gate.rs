//! The gate before a real PostgreSQL 17 and libpq: Debian's own, fetched by the builder.
//!
//! What needs no PostgreSQL is tested in `rootfs/pgkeeper`. Here the judges are PostgreSQL and
//! libpq: who gets in as whom, what `psql` shows to those who don't, that a cancelled query goes
//! on, that a closing gate ends fifty sessions at once, and that large data stays intact.

#[path = "gate/ledger.rs"]
mod ledger_client;
#[path = "../../rootfs/pgkeeper/tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use failover::Timeline;
use pgkeeper::Epoch;
use pgkeeper::gate::Gate;
use pgkeeper::postgres::controldata::{ControlData, Left};
use support::postgres::{PORT, Postgres};
use support::{CLIENT, DATABASE, Files, ROLE, Site, until};
use tempfile::TempDir;

/// What a query waits for that has to run as long as a test wants it to.
const LOCK: u32 = 7;

/// A PostgreSQL with an open gate before it.
struct Bench {
    folder: TempDir,
    site: Site,
    postgres: Postgres,
    gate: Gate,
    address: SocketAddr,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("gate-").tempdir().expect("a folder");
        support::postgres::give_away(folder.path());
        let bin = qemu_tests::postgres::programs(folder.path());
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a folder");
        let postgres = Postgres::start(&bin, &home, PORT, "fsync = off", "");
        let site = Site::new("plant CA");
        let gate = support::gate(support::settings(&site, &postgres.socket(), 200));
        gate.open(Epoch(1)).expect("open");
        let address = gate.address().expect("an address");
        Self { folder, site, postgres, gate, address }
    }

    fn files(&self, site: &Site, name: &str) -> Files {
        Files::write(self.folder.path(), name, &site.identity(name))
    }

    /// The right client's connection.
    fn conninfo(&self) -> String {
        self.files(&self.site, CLIENT).conninfo(self.address, ROLE, DATABASE)
    }

    fn psql(&self, conninfo: &str) -> Command {
        let mut command = self.postgres.program("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo]);
        command
    }

    /// A session of the superuser's that has the lock until its input ends.
    fn lock_holder(&self) -> Child {
        let mut psql = self.postgres.admin_command(DATABASE);
        let mut holder = psql.stdin(Stdio::piped()).spawn().expect("psql starts");
        let input = holder.stdin.as_mut().expect("piped");
        writeln!(input, "select pg_advisory_lock({LOCK});").expect("asked");
        let held = "select count(*) from pg_locks where locktype = 'advisory' and granted";
        until("the lock is held", || self.postgres.admin(DATABASE, held) == "1");
        holder
    }

    fn ask(&self, conninfo: &str, query: &str) -> Output {
        self.psql(conninfo).args(["-c", query]).output().expect("psql starts")
    }
}

fn out(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "it should have been refused");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[test]
fn who_has_the_right_certificate_gets_in_as_his_role_and_nobody_else() {
    let bench = Bench::new();
    let right = bench.conninfo();
    let who = "select current_user || ' ' || current_database() || ' ' || (select count(*) from \
               pg_stat_ssl where ssl)";
    assert_eq!(out(&bench.ask(&right, who)), "kine kubernetes 0");
    let direct = format!("{right} sslnegotiation=direct");
    assert_eq!(out(&bench.ask(&direct, "select 2")), "2");

    let other = Site::new("another CA");
    let mut stranger = bench.files(&other, "k3s-of-others");
    stranger.ca = bench.files(&bench.site, CLIENT).ca;
    let stranger = stranger.conninfo(bench.address, ROLE, DATABASE);
    let said = refused(&bench.ask(&stranger, "select 1"));
    assert!(said.contains("unknown ca") || said.contains("alert"), "{said}");

    let nobody = format!("{right} sslcertmode=disable");
    let said = refused(&bench.ask(&nobody, "select 1"));
    assert!(said.contains("certificate required"), "{said}");

    let said = refused(&bench.ask(&format!("{right} sslmode=disable"), "select 1"));
    assert!(said.contains("FATAL:  this database is reached by TLS"), "{said}");

    let said = refused(&bench.ask(&format!("{right} user=postgres"), "select 1"));
    assert!(said.contains("\"k3s\" may not log in as role \"postgres\""), "{said}");
    let said = refused(&bench.ask(&format!("{right} dbname=postgres"), "select 1"));
    assert!(said.contains("may not use database \"postgres\""), "{said}");
    let said = refused(&bench.ask(&format!("{right} replication=database"), "select 1"));
    assert!(said.contains("replication connections are not accepted"), "{said}");

    let counts = bench.gate.status().counts;
    assert_eq!((counts.sessions, counts.refused_log_ins), (2, 3), "{counts:?}");
}

#[test]
fn a_closed_gate_says_so_and_opens_again() {
    let bench = Bench::new();
    let right = bench.conninfo();
    assert_eq!(bench.gate.close(), 0);
    let said = refused(&bench.ask(&right, "select 1"));
    assert!(
        said.contains("FATAL:  the database system is not accepting connections on this node"),
        "{said}"
    );
    assert_eq!(bench.gate.status().counts.refused_closed, 1);
    bench.gate.open(Epoch(2)).expect("open");
    assert_eq!(out(&bench.ask(&right, "select 3")), "3");
    assert!(bench.gate.open(Epoch(1)).is_err(), "the first epoch is over");
    let sessions = "select count(*) from pg_stat_activity where usename = 'kine'";
    until("its sessions have ended", || bench.postgres.admin("postgres", sessions) == "0");
}

#[test]
fn the_control_file_of_a_real_server_is_understood() {
    let bench = Bench::new();
    let mut command = bench.postgres.program("pg_controldata");
    let printed = command.env("LC_ALL", "C").arg(bench.postgres.data()).output();
    let control = ControlData::parse(&out(&printed.expect("it starts"))).expect("understood");
    let system =
        bench.postgres.admin("postgres", "select system_identifier from pg_control_system()");
    assert_eq!(control.system.to_string(), system);
    assert_eq!((control.left, control.timeline), (Left::InProduction, Timeline(1)));
    assert_eq!((control.checksums, control.hints_logged), (true, false));
}

#[test]
fn fifty_sessions_are_cut_at_once() {
    let bench = Bench::new();
    let right = bench.conninfo();
    // Of an address that never showed a good certificate, fewer are greeted at once.
    assert_eq!(out(&bench.ask(&right, "select 1")), "1");
    let mut clients: Vec<Child> = (0..50)
        .map(|_| {
            let mut psql = bench.psql(&right);
            psql.args(["-c", "select pg_sleep(600)"]).stderr(Stdio::piped());
            psql.spawn().expect("psql starts")
        })
        .collect();
    let asleep = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and \
                  usename = 'kine' and state = 'active'";
    until("fifty queries run", || bench.postgres.admin("postgres", asleep) == "50");
    let begin = Instant::now();
    assert_eq!(bench.gate.close(), 50);
    let took = begin.elapsed();
    eprintln!("fifty sessions were cut in {took:?}");
    for client in &mut clients {
        let mut said = String::new();
        let mut error = client.stderr.take().expect("piped");
        error.read_to_string(&mut said).expect("text");
        assert!(!client.wait().expect("a child").success());
        assert!(said.contains("Connection reset by peer") || said.contains("closed"), "{said}");
    }
    assert_eq!((bench.gate.status().sessions, bench.gate.status().counts.cut), (0, 50));
}

#[test]
fn a_cancelled_query_goes_on() {
    let bench = Bench::new();
    let right = bench.conninfo();
    let mut psql = bench.psql(&right);
    out(&bench.ask(&right, "create table waited (well text)"));
    let mut holder = bench.lock_holder();
    psql.args(["-c", &format!("insert into waited select pg_advisory_xact_lock({LOCK})::text")]);
    let mut client = psql.spawn().expect("psql starts");
    let running = "select count(*) from pg_stat_activity where query like 'insert%' and usename = \
                   'kine' and wait_event = 'advisory'";
    until("the query runs", || bench.postgres.admin("postgres", running) == "1");
    let sent = Command::new("kill").args(["-INT", &client.id().to_string()]).status();
    assert!(sent.expect("kill").success());
    until("the cancel came", || bench.gate.status().counts.swallowed_cancels == 1);
    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        let by_sql = format!("select {function}(pid) from pg_stat_activity where usename = 'kine'");
        let said = refused(&bench.ask(&right, &by_sql));
        assert!(said.contains(&format!("permission denied for function {function}")), "{said}");
    }
    assert_eq!(bench.postgres.admin("postgres", running), "1");
    drop(holder.stdin.take());
    assert!(holder.wait().expect("psql").success());
    let commits = "select count(*) from waited";
    until("the query commits", || bench.postgres.admin(DATABASE, commits) == "1");
    // What psql makes of its own interrupt is its affair.
    client.wait().expect("psql");
}

#[test]
fn a_hundred_megabytes_stay_intact_both_ways() {
    const LINES: u32 = 1_000_000;
    let bench = Bench::new();
    let right = bench.conninfo();
    let sent = bench.folder.path().join("sent");
    let mut file = BufWriter::new(File::create(&sent).expect("a file"));
    for number in 0..LINES {
        let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        writeln!(file, "{number}\t{mixed:016x}{:-<75}", mixed % 9973).expect("written");
    }
    file.flush().expect("written");
    assert!(fs::metadata(&sent).expect("there").len() > 97_000_000);
    out(&bench.ask(&right, "create unlogged table large (number int, text text)"));
    let mut put = bench.psql(&right);
    put.args(["-c", "copy large from stdin"]).stdin(File::open(&sent).expect("there"));
    let begin = Instant::now();
    out(&put.output().expect("psql"));
    eprintln!("in: {:?}", begin.elapsed());
    let got = bench.folder.path().join("got");
    let mut take = bench.psql(&right);
    take.args(["-c", "copy large to stdout"]).stdout(File::create(&got).expect("a file"));
    let begin = Instant::now();
    out(&take.output().expect("psql"));
    eprintln!("out: {:?}", begin.elapsed());
    assert!(fs::read(&sent).expect("sent") == fs::read(&got).expect("got"), "bytes differ");
    let counts = bench.gate.status().counts;
    assert!(counts.bytes_in > 97_000_000 && counts.bytes_out > 97_000_000, "{counts:?}");
    until("the sessions ended", || bench.gate.status().sessions == 0);
}
