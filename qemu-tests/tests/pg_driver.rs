//! Two drivers, each with a real PostgreSQL 17, replicate, fail, promote, rewind and copy.
//!
//! `PGBIN` names the folder of another PostgreSQL's programs. How long commands took is in the
//! test's output (`--nocapture`).

#[path = "pg_driver/node.rs"]
mod node;
#[path = "../../rootfs/pgkeeper/tests/support/mod.rs"]
mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use failover::{Data, Lsn, PgCommand, PgReport, Timeline};
use node::{NEWCOMER, Node, settings};
use pgkeeper::gate::hba::SUPERUSER;
use pgkeeper::postgres::{Driver, RepairKind, Settings};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use support::until;
use tempfile::TempDir;

const FOLLOW: PgCommand = PgCommand::StartStandby { receive: true };
/// Where the test that runs as another user finds PostgreSQL.
const PROGRAMS: &str = "PGBIN";
/// So often a copy may end before it is interrupted.
const COPIES: u32 = 3;
const PAGE_BYTES: u64 = 8192;
/// Longer than the keeper's looks wait for an answer, and shorter than what counts as an end.
const STANDSTILL: Duration = Duration::from_secs(3);
/// Makes a test the daemon that is killed; the folder that it works in.
const DAEMON: &str = "PG_DRIVER_DAEMON";

/// A folder and PostgreSQL's programs for a test; none if the test was run by another user, since
/// PostgreSQL refuses to run as root and so does its driver.
fn bench(test: &str) -> Option<(TempDir, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("pg-").tempdir().expect("a folder");
    support::postgres::give_away(folder.path());
    let bin = std::env::var_os(PROGRAMS).map(PathBuf::from);
    let bin = bin.unwrap_or_else(|| qemu_tests::postgres::programs(folder.path()));
    if !rustix::process::geteuid().is_root() {
        return Some((folder, bin));
    }
    // The folder of the build may be closed to others.
    let own = std::env::current_exe().expect("a program");
    let copy = folder.path().join("test");
    fs::copy(&own, &copy).expect("copied");
    let status = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(&copy)
        .args(["--exact", test, "--nocapture"])
        .env(PROGRAMS, &bin)
        .env("TMPDIR", folder.path())
        .current_dir("/")
        .status();
    assert!(status.expect("setpriv starts").success(), "{test} failed as another user");
    None
}

fn data_of(settings: &Settings) -> Data {
    Driver::data(settings, &|line| println!("{line}"))
}

/// A primary and a standby that streams; commits wait for it.
fn pair(folder: &Path, bin: &Path) -> (Node, Node) {
    let [one, two] = settings(folder, bin);
    assert_eq!((data_of(&one), data_of(&two)), (Data::Missing, Data::Missing));
    let (mut a, mut b) = (Node::start(&one), Node::start(&two));
    a.run(PgCommand::InitDb);
    // Asked again, since a stop may have overtaken the answer.
    a.run(PgCommand::InitDb);
    a.run(PgCommand::StartPrimary { wait: false });
    a.ask("create table notes (note text)");
    b.run(PgCommand::Reclone);
    b.run(FOLLOW);
    a.await_peer(Lsn(1));
    let (_, end) = a.run(PgCommand::RequirePeer);
    a.await_peer(end);
    (a, b)
}

/// Waits until a standby answers that, whenever it is consistent.
fn until_answered(follower: &Node, query: &str, answer: &str) {
    let name = &follower.settings.name;
    until(&format!("{name} answers {answer:?} to {query:?}"), || {
        follower.ask_follower(query).is_some_and(|got| got == answer)
    });
}

fn until_noted(follower: &Node, notes: &str) {
    let all = "select coalesce(string_agg(note, ' ' order by note), '') from notes";
    until_answered(follower, all, notes);
}

fn write(node: &Node, note: &str) {
    node.ask(&format!("insert into notes values ('{note}')"));
}

/// Leaves a commit on `a` that only it has, and makes `b` the primary.
fn fail_over(a: &mut Node, b: &mut Node) {
    let (_, acknowledged) = b.run(PgCommand::StopReceiver);
    let mut client = a.ask_later("insert into notes values ('lost')");
    until("the commit waits", || a.waiting() == "1");
    a.await_report("the peer is gone", |report| {
        matches!(report, PgReport::Status { peer: None, .. })
    });
    assert_eq!(a.waiting(), "1", "nobody acknowledges");
    let (timeline, promoted) = b.run(PgCommand::Promote);
    assert_eq!(timeline, Timeline(2));
    assert!(promoted >= acknowledged);
    write(b, "after");
    a.run(PgCommand::Stop);
    assert!(!client.wait().expect("psql").success(), "the client was told of no success");
}

#[test]
fn a_pair_replicates_fails_over_and_the_old_primary_rejoins() {
    let Some((folder, bin)) = bench("a_pair_replicates_fails_over_and_the_old_primary_rejoins")
    else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    let written = a.ask("insert into notes values ('first') returning pg_current_wal_insert_lsn()");
    let has = format!("select pg_last_wal_receive_lsn() >= '{written}'");
    assert_eq!(b.ask(&has), "t", "what was acknowledged is on the standby");

    fail_over(&mut a, &mut b);
    let roles = format!("select count(*) from pg_roles where rolname = '{NEWCOMER}'");
    until("the new primary has the roles of its seed", || b.ask(&roles) == "1");
    a.run(PgCommand::Rewind);
    let repair = a.driver.detail().last_repair.expect("a repair");
    assert_eq!((repair.kind, repair.transactions_discarded), (RepairKind::Rewind, Some(1)));
    let archive = repair.archive.expect("an archive");
    let report = fs::read_to_string(archive.join("report.txt")).expect("a report");
    eprintln!("{report}");
    assert!(report.contains("transactions         1\n") && report.contains("  COMMIT "));
    let segments = fs::read_dir(&archive).expect("an archive").count() - 1;
    assert!(segments >= 1, "the dropped WAL is kept");

    a.run(FOLLOW);
    let (_, end) = b.run(PgCommand::RequirePeer);
    b.await_peer(end);
    write(&b, "third");
    until_noted(&a, "after first third");
    until("it knows that it follows", || a.driver.detail().role == "standby");
    assert!(!a.news.contains(&PgReport::CannotFollow) && b.news.is_empty(), "{:?}", b.news);

    // The planned way back: nothing is lost, and nothing has to be repaired.
    b.run(PgCommand::StopClean);
    let (timeline, _) = a.run(PgCommand::Promote);
    assert_eq!(timeline, Timeline(3));
    write(&a, "z");
    b.run(FOLLOW);
    a.await_peer(Lsn(1));
    until_noted(&b, "after first third z");
    let (_, end) = a.run(PgCommand::RequirePeer);
    a.await_peer(end);
    write(&a, "zz");
    a.run(PgCommand::ReleasePeer);
    b.run(PgCommand::Stop);
    write(&a, "zzz");
}

#[test]
fn a_standby_that_parted_says_so_and_is_rewound_too() {
    let Some((folder, bin)) = bench("a_standby_that_parted_says_so_and_is_rewound_too") else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    fail_over(&mut a, &mut b);
    a.run(FOLLOW);
    a.await_report("it can't follow", |report| *report == PgReport::CannotFollow);
    a.run(PgCommand::Stop);
    a.run(PgCommand::Rewind);
    let repair = a.driver.detail().last_repair.expect("a repair");
    assert_eq!(repair.transactions_discarded, Some(1));
    a.run(FOLLOW);
    until_noted(&a, "after");
}

/// The peer leads on the same timeline and has removed what a standby needs next: winding back finds
/// nothing to wind back, whatever it says of its success.
#[test]
fn a_standby_whose_log_the_peer_has_no_more_is_copied_and_not_rewound() {
    let Some((folder, bin)) =
        bench("a_standby_whose_log_the_peer_has_no_more_is_copied_and_not_rewound")
    else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    a.run(PgCommand::ReleasePeer);
    let segment = a.ask("select pg_walfile_name(pg_current_wal_lsn())");
    b.run(PgCommand::Stop);
    let rendered = a.settings.socket_folder.join("postgresql.conf");
    let keeps_nothing = "wal_keep_size = 0\nmax_slot_wal_keep_size = 0\n";
    let all = fs::read_to_string(&rendered).expect("rendered") + keeps_nothing;
    fs::write(&rendered, all).expect("written");
    a.ask_superuser("select pg_reload_conf()");
    let there = format!("select count(*) from pg_ls_waldir() where name = '{segment}'");
    until("the log is gone", || {
        write(&a, "more");
        a.ask_superuser("select pg_switch_wal()");
        a.ask_superuser("checkpoint");
        a.ask_superuser(&there) == "0"
    });
    b.run(FOLLOW);
    b.await_report("it can't follow", |report| *report == PgReport::CannotFollow);
    b.run(PgCommand::Stop);
    assert_eq!(b.try_run(PgCommand::Rewind), None, "it would change nothing");
    b.run(PgCommand::Reclone);
    b.run(FOLLOW);
    until_answered(&b, "select count(*) > 0 from notes", "t");
    a.await_peer(Lsn(1));
}

/// Every copy of a leader with a damaged page would fail, and it would be alone for ever.
#[test]
fn a_leader_with_a_damaged_page_is_copied_with_it_and_that_is_told() {
    let Some((folder, bin)) =
        bench("a_leader_with_a_damaged_page_is_copied_with_it_and_that_is_told")
    else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    a.run(PgCommand::ReleasePeer);
    b.run(PgCommand::Stop);
    // Nothing but the test writes to it, or the damage would be written over.
    a.ask("create table broken (text text) with (autovacuum_enabled = off)");
    a.ask("insert into broken select repeat('x', 100) from generate_series(1, 100)");
    a.ask_superuser("checkpoint");
    let table = a.ask("select pg_relation_filepath('broken')");
    let file = OpenOptions::new().write(true).open(a.data().join(table)).expect("a table");
    file.write_all_at(b"damaged", PAGE_BYTES - 50).expect("written");
    write(&a, "kept");
    b.run(PgCommand::Reclone);
    let repair = b.driver.detail().last_repair.expect("a repair");
    assert_eq!(repair.kind, RepairKind::Reclone);
    assert!(b.driver.detail().has_damaged_copy);
    b.run(FOLLOW);
    until_noted(&b, "kept");
    a.await_peer(Lsn(1));
    // What the copy replaced may be the last sound page, and a keeper that starts anew still tells.
    let replaced = b.settings.folder.join("replaced/global/pg_control");
    assert!(replaced.exists());
    let settings = b.settings.clone();
    drop(b);
    let mut b = Node::start(&settings);
    assert!(b.driver.detail().has_damaged_copy && replaced.exists());
    a.ask("drop table broken");
    a.ask_superuser("checkpoint");
    b.run(PgCommand::Reclone);
    assert!(!b.driver.detail().has_damaged_copy && !replaced.exists(), "the copy is sound");
    b.run(FOLLOW);
    a.await_peer(Lsn(1));
}

/// The keeper would end a PostgreSQL that is about to serve, and start it with a recovery.
#[test]
fn a_promotion_outlasts_a_standstill_of_some_seconds() {
    let Some((folder, bin)) = bench("a_promotion_outlasts_a_standstill_of_some_seconds") else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    b.run(PgCommand::StopReceiver);
    a.run(PgCommand::Stop);
    let postmaster = b.postmaster();
    let all = b.processes();
    let signal = move |signal| {
        for process in &all {
            // Workers of PostgreSQL come and go.
            let sent = kill_process(*process, signal);
            assert!(matches!(sent, Ok(()) | Err(Errno::SRCH)), "{sent:?}");
        }
    };
    signal(Signal::STOP);
    let thaw = thread::spawn(move || {
        thread::sleep(STANDSTILL);
        signal(Signal::CONT);
    });
    let (timeline, _) = b.run(PgCommand::Promote);
    thaw.join().expect("thawed");
    assert_eq!((timeline, b.postmaster()), (Timeline(2), postmaster));
    assert!(b.news.is_empty(), "{:?}", b.news);
}

/// Whoever can log in and is answered nothing is no better off than one who can't log in.
#[test]
fn a_postgresql_that_answers_nothing_is_ended_although_log_ins_work() {
    let Some((folder, bin)) =
        bench("a_postgresql_that_answers_nothing_is_ended_although_log_ins_work")
    else {
        return;
    };
    let (mut a, _b) = pair(folder.path(), &bin);
    // The keeper asks for it in each of its looks, in this database.
    let hang = "begin; lock table pg_catalog.pg_stat_wal_receiver in access exclusive mode; \
                select pg_sleep(600)";
    let mut locker = a.psql(SUPERUSER, hang).args(["-d", "postgres"]).spawn().expect("psql");
    a.await_report("it hangs and is ended", |report| *report == PgReport::Exited);
    locker.wait().expect("its session ended");
    a.run(PgCommand::StartPrimary { wait: false });
    write(&a, "again");
}

/// PostgreSQL itself would stand still, and never be promoted, until somebody gives it as many.
#[test]
fn a_standby_with_fewer_connections_than_its_primary_gets_as_many_and_is_promoted() {
    let Some((folder, bin)) =
        bench("a_standby_with_fewer_connections_than_its_primary_gets_as_many_and_is_promoted")
    else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    let few = b.settings.max_connections;
    let many = Settings { max_connections: few * 2, ..a.settings.clone() };
    a.run(PgCommand::StopClean);
    drop(a);
    let mut a = Node::start(&many);
    a.run(PgCommand::StartPrimary { wait: false });
    write(&a, "more");
    b.await_report("it stands still and is ended", |report| *report == PgReport::Exited);
    b.run(FOLLOW);
    until_noted(&b, "more");
    let given = |node: &Node| node.ask_superuser("show max_connections");
    assert_eq!(given(&b), many.max_connections.to_string());
    b.run(PgCommand::StopReceiver);
    b.run(PgCommand::Promote);
    // Its own seed's number counts again from its next start as a primary.
    b.run(PgCommand::StopClean);
    b.run(PgCommand::StartPrimary { wait: false });
    assert_eq!(given(&b), few.to_string());
}

#[test]
fn a_killed_postgresql_is_reported_and_starts_with_commits_that_wait() {
    let Some((folder, bin)) =
        bench("a_killed_postgresql_is_reported_and_starts_with_commits_that_wait")
    else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    let postmaster = Pid::from_raw(a.postmaster()).expect("a process");
    kill_process(postmaster, Signal::KILL).expect("killed");
    a.await_report("it ended", |report| *report == PgReport::Exited);
    b.run(PgCommand::StopReceiver);
    // What somebody set by SQL, or left, must not matter.
    let set = "synchronous_standby_names = ''\n";
    fs::write(a.data().join("postgresql.auto.conf"), set).expect("written");
    fs::write(a.data().join("postgresql.conf"), set).expect("written");
    let (_, end) = a.run(PgCommand::StartPrimary { wait: true });
    let mut client = a.ask_later("insert into notes values ('waits')");
    until("the commit waits", || a.waiting() == "1");
    b.run(FOLLOW);
    a.await_peer(end);
    assert!(client.wait().expect("psql").success());
    until_noted(&b, "waits");

    // One process of it that is killed ends all of it: PostgreSQL must not come back by itself.
    let sleeper = a.ask_later("select pg_sleep(600)");
    let asleep = "select coalesce(max(pid), 0) from pg_stat_activity where query like '%sleep(6%' \
                  and pid <> pg_backend_pid()";
    until("it sleeps", || a.ask(asleep) != "0");
    let backend = a.ask(asleep).parse().ok().and_then(Pid::from_raw).expect("a process");
    kill_process(backend, Signal::KILL).expect("killed");
    a.await_report("it ended", |report| *report == PgReport::Exited);
    drop(sleeper);
    a.run(PgCommand::StartPrimary { wait: true });

    // A postmaster that hangs is stopped all the same.
    let postmaster = Pid::from_raw(a.postmaster()).expect("a process");
    kill_process(postmaster, Signal::STOP).expect("stopped");
    a.run(PgCommand::Stop);
    assert!(rustix::process::test_kill_process(postmaster).is_err(), "it is gone");
}

#[test]
fn a_copy_that_is_interrupted_leaves_the_data_as_it_was() {
    let Some((folder, bin)) = bench("a_copy_that_is_interrupted_leaves_the_data_as_it_was") else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    a.ask("insert into notes select repeat('x', 1000) from generate_series(1, 50000)");
    b.run(PgCommand::Stop);
    let clone = b.settings.folder.join("clone");
    // So little is copied that the whole of it may be there before the order to stop.
    let interrupted = (0..COPIES).any(|_| {
        let copy = b.begin(PgCommand::Reclone);
        until("the copy has begun", || clone.join("base").exists() || b.has_answered(copy));
        b.run(PgCommand::Stop);
        assert!(!b.news.contains(&PgReport::Failed(copy)));
        !b.has_answered(copy)
    });
    assert!(interrupted, "each copy ended before it could be stopped");
    b.run(FOLLOW);
    a.await_peer(Lsn(1));
    let (running, settings) = (b.postmaster(), b.settings.clone());
    drop(b);
    let gone = Pid::from_raw(running).expect("a process");
    assert!(rustix::process::test_kill_process(gone).is_err(), "it ends with its driver");

    // What a power cut leaves.
    for half in ["clone/base", "new/base"] {
        fs::create_dir_all(settings.folder.join(half)).expect("a folder");
    }
    fs::write(settings.folder.join("data/postmaster.pid"), "1\n").expect("written");
    assert_eq!(data_of(&settings), Data::Standby);
    let left: Vec<_> = fs::read_dir(&settings.folder).expect("a folder").flatten().collect();
    let names: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
    assert_eq!(names, ["data"]);
    let mut b = Node::start(&settings);
    b.run(FOLLOW);
    a.run(PgCommand::ReleasePeer);
    write(&a, "y");
    until_answered(&b, "select count(*) from notes", "50001");

    // A standby has nothing of its own, so nothing of it is kept.
    b.run(PgCommand::Stop);
    b.run(PgCommand::Reclone);
    assert!(!clone.exists() && !settings.folder.join("discarded").exists());
    b.run(FOLLOW);
    until_answered(&b, "select count(*) from notes", "50001");
}

#[test]
fn a_rewind_that_would_trust_a_number_is_refused_and_a_copy_keeps_the_wal() {
    let Some((folder, bin)) =
        bench("a_rewind_that_would_trust_a_number_is_refused_and_a_copy_keeps_the_wal")
    else {
        return;
    };
    let (mut a, mut b) = pair(folder.path(), &bin);
    a.run(PgCommand::Stop);
    b.run(PgCommand::Stop);
    // Each becomes a primary on a timeline of the same number.
    for (node, note) in [(&mut a, "kept"), (&mut b, "dropped")] {
        node.run(PgCommand::StartStandby { receive: false });
        let (timeline, _) = node.run(PgCommand::Promote);
        assert_eq!(timeline, Timeline(2));
        write(node, note);
    }
    b.run(PgCommand::Stop);
    assert_eq!(b.try_run(PgCommand::Rewind), None);
    b.run(PgCommand::Reclone);
    let repair = b.driver.detail().last_repair.expect("a repair");
    assert_eq!(repair.kind, RepairKind::Reclone);
    let kept = repair.archive.expect("an archive").join("pg_wal");
    assert!(fs::read_dir(kept).expect("WAL").count() > 1);
    b.run(FOLLOW);
    until_noted(&b, "kept");
}

#[test]
fn a_database_ends_with_its_daemon_and_starts_again() {
    const TEST: &str = "a_database_ends_with_its_daemon_and_starts_again";
    let Some((folder, bin)) = bench(TEST) else { return };
    if let Some(home) = std::env::var_os(DAEMON) {
        let [one, _] = settings(Path::new(&home), &bin);
        let mut node = Node::start(&one);
        node.run(PgCommand::InitDb);
        node.run(PgCommand::StartPrimary { wait: false });
        node.await_report("the daemon is killed", |_| false);
    }
    let mut daemon = Command::new(std::env::current_exe().expect("a program"));
    daemon.args(["--exact", TEST, "--nocapture"]).env(PROGRAMS, &bin).env(DAEMON, folder.path());
    let mut daemon = daemon.spawn().expect("started");
    let file = folder.path().join("node-1/state/data/postmaster.pid");
    until("PostgreSQL is ready", || {
        assert!(daemon.try_wait().expect("a child").is_none(), "the daemon ended");
        fs::read_to_string(&file).is_ok_and(|text| text.contains("ready"))
    });
    let text = fs::read_to_string(&file).expect("there");
    let works_in = format!("/proc/{}/cwd", text.lines().next().expect("a number"));
    assert!(fs::read_link(&works_in).is_ok());
    daemon.kill().expect("killed");
    daemon.wait().expect("a child");
    // Whether somebody reaps it is not our affair.
    until("PostgreSQL has ended too", || fs::read_link(&works_in).is_err());
    let [one, _] = settings(folder.path(), &bin);
    assert_eq!(data_of(&one), Data::Primary);
    Node::start(&one).run(PgCommand::StartPrimary { wait: false });
}

#[test]
fn kines_revision_jumps_ahead_and_what_was_before_is_compacted() {
    let Some((folder, bin)) = bench("kines_revision_jumps_ahead_and_what_was_before_is_compacted")
    else {
        return;
    };
    let [one, _] = settings(folder.path(), &bin);
    let mut node = Node::start(&one);
    node.run(PgCommand::InitDb);
    node.run(PgCommand::StartPrimary { wait: false });
    node.fence_revision();
    node.ask(
        "create table kine (id bigserial primary key, name text collate \"C\", created integer, \
         deleted integer, create_revision bigint, prev_revision bigint, lease integer, value \
         bytea, old_value bytea)",
    );
    node.ask(
        "insert into kine (name, prev_revision) values ('compact_rev_key', 0), ('/registry/a', 0)",
    );
    node.fence_revision();
    let compacted = node.ask("select prev_revision from kine where name = 'compact_rev_key'");
    assert_eq!(node.ask("select max(id) from kine"), compacted);
    assert_eq!(
        node.ask("select name from kine order by id desc limit 1"),
        format!("gap-{compacted}")
    );
    let number = |text: String| text.parse::<u64>().expect("a number");
    assert!(number(compacted.clone()) > 1_000_000);
    let next = "insert into kine (name) values ('/registry/b') returning id";
    assert!(number(node.ask(next)) > number(compacted));
}
