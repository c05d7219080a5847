//! The ledger's client against a real PostgreSQL behind the gate: what it is promised is there, what
//! it can't know it doesn't claim to know, and what is taken away behind its back is missed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ledger::check::{self, rows};
use ledger::client::postgres::{Certificates, Target};
use ledger::client::session::Appends;
use ledger::client::{Clock, Session, Settings};
use ledger::{History, Kind, Operation, Outcome, Verdict};
use pgkeeper::Epoch;

use super::Bench;
use super::support::{CLIENT, DATABASE, ROLE, until};

const TABLE: &str = "promises";
const WORKERS: u32 = 3;

/// Clients of a bench, and what they did so far.
struct Clients {
    session: Session,
    told: Arc<Mutex<Vec<Operation>>>,
}

fn settings(bench: &Bench) -> Settings {
    let identity = bench.site.identity(CLIENT);
    let certificates = Certificates {
        ca: identity.ca_certificate.clone(),
        certificate: identity.certificate.clone(),
        key: identity.key.clone(),
    };
    let target = Target {
        address: bench.address,
        role: ROLE.to_owned(),
        database: DATABASE.to_owned(),
        table: TABLE.to_owned(),
        certificates: Some(certificates),
        connect_ms: 20_000,
        statement_ms: 20_000,
    };
    let appends = Appends {
        target,
        after: 0,
        workers: WORKERS,
        every_ms: 10,
        prepare_ms: 20_000,
        read_from: vec![bench.address],
    };
    Settings { pings: Vec::new(), postgres: Some(appends) }
}

impl Clients {
    fn start(settings: &Settings) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = told.clone();
        let tell = Arc::new(move |operation| keep.lock().expect("told").push(operation));
        let session = Session::start(settings, Clock::from(Instant::now()), tell);
        Self { session: session.expect("clients"), told }
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.told.lock().expect("told").iter().filter(|one| one.outcome == outcome).count()
    }

    /// Waits until so many more operations ended like this.
    fn more(&self, count: usize, outcome: Outcome) {
        let wanted = self.count(outcome) + count;
        until("enough operations ended", || self.count(outcome) >= wanted);
    }

    fn finish(self) -> History {
        assert!(self.session.finish(Duration::from_secs(20)), "the set is read at the end");
        let operations = self.told.lock().expect("told").clone();
        History { operations }
    }
}

fn passes(history: &History) {
    for finding in check::promises(history) {
        assert_eq!(finding.verdict, Verdict::Pass, "{finding:?}");
    }
}

#[test]
fn what_clients_are_promised_is_there_although_the_gate_closes_in_between() {
    let bench = Bench::new();
    let clients = Clients::start(&settings(&bench));
    clients.more(50, Outcome::Ok);
    bench.gate.close();
    clients.more(20, Outcome::Fail);
    bench.gate.open(Epoch(2)).expect("open");
    clients.more(50, Outcome::Ok);
    let history = clients.finish();
    passes(&history);

    let append = history.acknowledged(Kind::Append).next().expect("an append");
    assert_eq!((append.timeline, append.node.as_deref()), (Some(1), Some("node1")));
    let refused = history.operations.iter().find(|one| one.outcome == Outcome::Fail);
    let note = &refused.expect("one was refused").note;
    assert!(note.contains("57P03: the database system is not accepting connections"), "{note}");
    let unknown = history.operations.iter().filter(|one| one.outcome == Outcome::Info);
    let unknown: Vec<u32> = unknown.map(|one| one.process).collect();
    for process in unknown {
        let last = history.operations.iter().rfind(|one| one.process == process);
        assert_eq!(last.expect("its own").outcome, Outcome::Info, "nothing after the unknown");
    }
    assert_eq!(history.of(Kind::Read).count(), 2, "at the address and at the node");

    let mut lines = Vec::new();
    history.write(&mut lines).expect("written");
    assert_eq!(History::read(&lines[..]).expect("read"), history);
}

#[test]
fn a_row_that_is_taken_away_is_missed_and_a_copied_one_is_found() {
    let bench = Bench::new();
    let clients = Clients::start(&settings(&bench));
    clients.more(30, Outcome::Ok);
    let first = "select min(value) from promises";
    let lost: u64 = bench.postgres.admin(DATABASE, first).parse().expect("a number");
    bench.postgres.admin(DATABASE, &format!("delete from promises where value = {lost}"));
    bench.postgres.admin(
        DATABASE,
        "insert into promises (process, value) select process, value from promises order by id \
         limit 1",
    );
    let history = clients.finish();
    let missed = rows::nothing_lost(&history);
    assert_eq!(missed.verdict, Verdict::Violated);
    assert!(missed.reasons[0].starts_with(&format!("row {lost}, ")), "{missed:?}");
    assert_eq!(rows::no_duplicates(&history).verdict, Verdict::Violated);
    assert_eq!(rows::client_order(&history).verdict, Verdict::Violated, "the copy is out of order");
    assert_eq!(rows::nothing_failed_present(&history).verdict, Verdict::Pass);
}

#[test]
fn a_statement_that_can_not_be_done_fails_for_certain_and_the_connection_goes_on() {
    let bench = Bench::new();
    let clients = Clients::start(&settings(&bench));
    clients.more(5, Outcome::Ok);
    bench.postgres.admin("postgres", "alter system set default_transaction_read_only = on");
    bench.postgres.admin("postgres", "select pg_reload_conf()");
    clients.more(5, Outcome::Fail);
    bench.postgres.admin("postgres", "alter system reset default_transaction_read_only");
    bench.postgres.admin("postgres", "select pg_reload_conf()");
    clients.more(5, Outcome::Ok);
    let history = clients.finish();
    passes(&history);
    let refused = history.operations.iter().find(|one| one.outcome == Outcome::Fail);
    let note = &refused.expect("one was refused").note;
    assert!(note.starts_with("ERROR 25006: "), "{note}");
    assert_eq!(history.operations.iter().filter(|one| one.outcome == Outcome::Info).count(), 0);
}
