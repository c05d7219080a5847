//! Backups with a real PostgreSQL 17 and a real pgBackRest, Debian's own, fetched by the builder: a
//! base backup, more writes, their log archived, and a restore to a moment and to the end.
//!
//! The service runs as on a node, as the database's user, with the overlay's own templates; only its
//! paths are other ones. The keeper is its control socket alone, which says who leads.

#[path = "../../rootfs/pgkeeper/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use builder::build::source::Reach;
use builder::progress::Progress;
use builder::project;
use builder::tools::PGBACKREST;
use control::{
    Answer, BackupStatus, DatabaseStatus, PgRequest, Reason, Request, Restore, RestoreTo,
};
use pgkeeper::control::Server;
use rustix::event::{PollFd, Timespec, poll};
use support::postgres::{NOBODY, PORT, Postgres, give_away, give_file};
use support::until;
use tempfile::TempDir;

/// Tells the test program that it shall be the service, with this configuration.
const AS_SERVICE: &str = "BACKUP_SERVICE_CONFIG";
const SEED: &str = include_str!("../../rootfs/seed/testdata/good/000-pair-node1.toml");
const SETTINGS: &str = include_str!("../../overlays/backup/templates/pgbackrest.conf.hbs");
const SERVICE: &str = include_str!("../../overlays/backup/templates/backup.toml.hbs");

/// Not a test: the service itself, in a process of its own that another user can be given.
#[test]
fn the_service() {
    if let Some(config) = std::env::var_os(AS_SERVICE) {
        pgkeeper::backup::run(Path::new(&config)).expect("it runs to its end");
    }
}

/// A store that speaks S3, where the environment names one; it gets the backups then.
struct Store {
    endpoint: String,
    bucket: String,
    /// Lines of pgBackRest's configuration: keys and authority, which on a node are the seed's.
    lines: Vec<(&'static str, String)>,
}

impl Store {
    fn of_environment() -> Option<Self> {
        let endpoint = std::env::var("S3_ENDPOINT").ok()?;
        let read = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("{name} isn't set, but S3_ENDPOINT is"))
        };
        let lines = vec![
            ("repo1-s3-key", read("S3_ACCESS_KEY")),
            ("repo1-s3-key-secret", read("S3_SECRET_KEY")),
            ("repo1-storage-ca-file", read("S3_CA")),
        ];
        Some(Self { endpoint, bucket: read("S3_BUCKET"), lines })
    }

    /// The configuration with this store's own secrets.
    fn complete(&self, settings: &str) -> String {
        let line = |line: &str| {
            let key = line.split('=').next().unwrap_or_default();
            let own = self.lines.iter().find(|(own, _)| *own == key);
            own.map_or_else(|| format!("{line}\n"), |(key, value)| format!("{key}={value}\n"))
        };
        settings.lines().map(line).collect()
    }
}

/// A folder with programs, database, repository and service.
struct Bench {
    folder: TempDir,
    bin: PathBuf,
    pgbackrest: PathBuf,
    postgres: Option<Postgres>,
    service: Option<Child>,
    leads: Arc<AtomicBool>,
    /// Where backups go; without it into a directory.
    store: Option<Store>,
}

impl Bench {
    fn new() -> Self {
        let store = Store::of_environment();
        let folder = tempfile::Builder::new().prefix("backup-").tempdir().expect("a folder");
        give_away(folder.path());
        let bin = qemu_tests::postgres::programs(folder.path());
        let pgbackrest = pgbackrest(folder.path());
        for name in ["home", "repository", "sockets", "locks"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
            give_away(&folder.path().join(name));
        }
        let leads = Arc::new(AtomicBool::new(true));
        let (postgres, service) = (None, None);
        let mut bench = Self { folder, bin, pgbackrest, postgres, service, leads, store };
        bench.configure();
        let archive = format!(
            "archive_mode = on\narchive_command = '{} --config={} --stanza=shop-17 archive-push %p'",
            bench.pgbackrest.display(),
            bench.path("pgbackrest.conf").display()
        );
        let postgres = Postgres::start(&bench.bin, &bench.path("home"), PORT, &archive, "");
        // The service is the database's own user, as on a node.
        let ident = postgres.data().join("pg_ident.conf");
        let known = fs::read_to_string(&ident).expect("there");
        fs::write(&ident, known + "gate nobody postgres\n").expect("written");
        postgres.admin("postgres", "select pg_reload_conf()");
        bench.postgres = Some(postgres);
        bench.keep();
        bench.serve();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The overlay's files, for this folder instead of a node's.
    fn configure(&self) {
        // Each test has a place of its own in the store.
        let prefix = format!("prefix = \"{}\"", self.folder.path().display());
        let seed = SEED.replace("every = \"12h\"", "every = \"12h\"\nkeep = 2");
        let seed = match &self.store {
            Some(Store { endpoint, bucket, .. }) => seed
                .replace("https://s3.example.org", endpoint)
                .replace("bucket = \"shop-17\"", &format!("bucket = \"{bucket}\"\n{prefix}")),
            None => seed
                .replace("target = \"s3\"", "target = \"directory\"\ndirectory = \"/state/backup\"")
                .replace("endpoint = \"https://s3.example.org\"\nbucket = \"shop-17\"\n", ""),
        };
        let seed = seed::parse("seed", &seed).unwrap_or_else(|error| panic!("{error}"));
        let context = seed::render::display_context(&seed);
        let inputs = ["cluster", "database", "secrets"].map(str::to_owned);
        let here = self.folder.path().display();
        for (name, template) in [("pgbackrest.conf", SETTINGS), ("backup.toml", SERVICE)] {
            let text = seed::render::render(name, template, &inputs, &context);
            let text = text.unwrap_or_else(|error| panic!("{error}"));
            let text = text
                .replace("/state/backup", &format!("{here}/repository"))
                .replace("/state/postgres/data", &format!("{here}/home/data"))
                .replace("/run/postgres\n", &format!("{here}/home\n"))
                .replace("/run/pgbackrest", &format!("{here}/locks"))
                .replace("/etc/edgepair/pgbackrest.conf", &format!("{here}/pgbackrest.conf"))
                .replace("/usr/lib/postgresql/17/bin", &self.bin.display().to_string())
                .replace("pg1-port=5433", &format!("pg1-port={PORT}"))
                .replace("group = 743\n", "");
            let own = format!(
                "pgbackrest = '{}'\nsocket = '{here}/sockets/backup.sock'\n\
                 keeper_socket = '{here}/sockets/keeper.sock'\n",
                self.pgbackrest.display()
            );
            let text = match &self.store {
                _ if name == "backup.toml" => text + &own,
                Some(store) => store.complete(&text),
                None => text,
            };
            fs::write(self.path(name), text).expect("written");
            give_file(&self.path(name));
        }
    }

    /// A keeper as far as the service asks: it leads, or it isn't there.
    fn keep(&self) {
        let (leads, path) = (self.leads.clone(), self.path("sockets/keeper.sock"));
        thread::spawn(move || {
            let mut server = None;
            loop {
                if !leads.load(Ordering::SeqCst) {
                    server = None;
                    let _gone = fs::remove_file(&path);
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                let server = server.get_or_insert_with(|| open(&path));
                turn(server);
            }
        });
    }

    fn serve(&mut self) {
        let own = std::env::current_exe().expect("a program");
        let program = self.path("service");
        // By another program: a process that starts at this moment would inherit a descriptor of ours
        // that can write to it, and what is open for writing can't be started.
        let copied = Command::new("cp").arg(own).arg(&program).status();
        assert!(copied.expect("cp starts").success());
        let mut command = support::postgres::unprivileged(&program);
        command.args(["--exact", "the_service", "--nocapture"]);
        command.env(AS_SERVICE, self.path("backup.toml")).stdin(Stdio::null());
        self.service = Some(command.spawn().expect("the service starts"));
    }

    fn ask(&self, request: PgRequest) -> Answer {
        let socket = self.path("sockets/backup.sock");
        until("the service listens", || UnixStream::connect(&socket).is_ok());
        let mut stream = UnixStream::connect(&socket).expect("a connection");
        let line = Request::Pg(request).to_line().expect("short");
        stream.write_all(&line).expect("asked");
        let mut answer = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut answer).expect("an answer");
        Answer::parse(&answer).expect("an answer")
    }

    fn status(&self) -> BackupStatus {
        match self.ask(PgRequest::Backups) {
            Answer::Backups(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&BackupStatus) -> bool) -> BackupStatus {
        let mut last = self.status();
        until(what, || {
            last = self.status();
            let failure = last.failure.as_ref();
            assert!(failure.is_none(), "{failure:?}\n{}", self.log());
            holds(&last)
        });
        last
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("home/log")).unwrap_or_default()
    }

    fn sql(&self, query: &str) -> String {
        self.postgres.as_ref().expect("it runs").admin("postgres", query)
    }

    /// Writes a row, and waits until its part of the log is in the archive.
    fn write(&self, row: &str) {
        self.sql(&format!("insert into rows values ('{row}')"));
        let segment = self.sql("select pg_walfile_name(pg_switch_wal())");
        let archived = format!(
            "select coalesce(last_archived_wal >= '{segment}', false) from pg_stat_archiver"
        );
        until("the log is archived", || self.sql(&archived) == "t");
    }

    fn restore(&self, to: RestoreTo) {
        let before = self.path("home/before-restore");
        let _none = fs::remove_dir_all(&before);
        let order = PgRequest::Restore(Restore { to, accept_data_loss: true });
        assert_eq!(self.ask(order), Answer::Accepted);
        self.wait_for("the restore", |status| {
            before.exists() && status.state == "pgkeeper is stopped"
        });
    }

    /// What a standby of this data needs at least.
    fn standby_settings(&self) -> Vec<String> {
        let mut command = Command::new(self.bin.join("pg_controldata"));
        let output = command.env("LC_ALL", "C").arg(self.path("home/data")).output();
        let text = String::from_utf8(output.expect("it starts").stdout).expect("ASCII");
        let settings = text.lines().filter(|line| line.starts_with("max_"));
        let settings: Vec<String> = settings.map(str::to_owned).collect();
        assert!(settings.iter().any(|line| line.ends_with(" 200")), "{settings:?}");
        settings
    }

    /// What is in the table, read by a PostgreSQL that ends at once.
    fn rows(&self) -> Vec<String> {
        let mut command = support::postgres::unprivileged(&self.bin.join("postgres"));
        command.arg("--single").arg("-D").arg(self.path("home/data")).arg("postgres");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut single = command.spawn().expect("it starts");
        let query = b"select name from rows order by name\n";
        single.stdin.take().expect("a pipe").write_all(query).expect("asked");
        let output = single.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value =
            |line: &str| Some(line.split_once("name = \"")?.1.split('"').next()?.to_owned());
        text.lines().filter_map(value).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _told = Command::new("kill").arg(service.id().to_string()).status();
            let _ended = service.wait();
        }
    }
}

/// pgBackRest behind a script that starts it with its own loader and libraries.
fn pgbackrest(folder: &Path) -> PathBuf {
    let cache = project::cache_folder(None).expect("a cache folder");
    let tool = PGBACKREST.obtain(&cache, &Reach::default(), &Progress::new(false));
    let tool = tool.unwrap_or_else(|error| panic!("{error}"));
    let root = folder.join("pgbackrest");
    let copied = Command::new("cp").arg("-a").arg(tool.file("")).arg(&root).status();
    assert!(copied.expect("cp starts").success());
    // It starts itself again for its work, by the name that it was started by.
    let script = root.join("bin/pgbackrest");
    let root = root.display();
    let text = format!(
        "#!/bin/sh\nexec {root}/usr/lib64/ld-linux-x86-64.so.2 --library-path \
         {root}/usr/lib/x86_64-linux-gnu --argv0 \"$0\" {root}/usr/bin/pgbackrest \"$@\"\n"
    );
    fs::write(&script, text).expect("written");
    script
}

fn open(path: &Path) -> Server {
    // Where we are root the service is another user; on a node it is the keeper's own.
    let group = rustix::process::geteuid().is_root().then_some(NOBODY);
    Server::bind(path, group).expect("a socket")
}

/// One turn of a keeper's loop.
fn turn(server: &mut Server) {
    let now = Duration::from_secs(1);
    let (mut polls, mut inputs) = (Vec::new(), Vec::new());
    server.watch(now, |descriptor, flags, input| {
        polls.push(PollFd::from_borrowed_fd(descriptor, flags));
        inputs.push(input);
    });
    let limit = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    poll(&mut polls, Some(&limit)).expect("polled");
    let ready: Vec<_> = polls
        .iter()
        .zip(inputs)
        .filter(|(poll, _)| !poll.revents().is_empty())
        .map(|(_, input)| input)
        .collect();
    let status = DatabaseStatus { role: "primary".to_owned(), ..DatabaseStatus::default() };
    for input in ready {
        server.attend(input, &mut |_| Answer::Database(Box::new(status.clone())), now);
    }
}

fn refused(answer: Answer) -> (Reason, String) {
    match answer {
        Answer::Refused(refusal) => (refusal.reason, refusal.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_archived_comes_back_up_to_a_moment_and_to_the_end() {
    let mut bench = Bench::new();
    bench.sql("create table rows (name text)");
    bench.write("before-the-backup");
    let status = bench.wait_for("the first backup is made by itself", |status| {
        !status.backups.is_empty() && status.state == "idle"
    });
    assert!(status.archive.is_some() && status.next_unix_ms.is_some(), "{status:?}");

    // pgBackRest counts whole seconds, and a moment in the backup's own last one has no backup yet.
    let ended = status.backups[0].until_unix;
    until("the backup's last second is over", || {
        let now = bench.sql("select floor(extract(epoch from clock_timestamp()))::bigint");
        now.parse::<u64>().expect("a number") > ended
    });
    bench.write("after-the-backup");
    let moment = bench.sql("select (extract(epoch from clock_timestamp()) * 1000)::bigint + 1");
    let unix_ms = moment.parse().expect("a number");
    bench.sql("select pg_sleep(0.05)");
    bench.write("after-the-moment");
    assert_eq!(bench.ask(PgRequest::BackupNow), Answer::Accepted);
    bench.wait_for("a second backup", |status| status.backups.len() == 2 && status.state == "idle");

    // Nobody reads the repository without the passphrase.
    if bench.store.is_none() {
        let info = fs::read(bench.path("repository/backup/shop-17/backup.info")).expect("there");
        assert!(info.starts_with(b"Salted__"), "{:?}", &info[..16.min(info.len())]);
    }

    let unsaid = Restore { to: RestoreTo::Latest, accept_data_loss: false };
    let (reason, why) = refused(bench.ask(PgRequest::Restore(unsaid)));
    assert!(reason == Reason::Unsafe && why.contains("--i-accept-data-loss"), "{why}");

    // The keeper and its PostgreSQL are stopped, as `nodectl stop pgkeeper` does.
    bench.leads.store(false, Ordering::SeqCst);
    drop(bench.postgres.take());
    let keeper = bench.path("sockets/keeper.sock");
    until("the keeper is gone", || !keeper.exists());
    let written_with = bench.standby_settings();
    bench.restore(RestoreTo::Time { unix_ms });
    assert_eq!(bench.standby_settings(), written_with, "a standby can replay the recovery");
    assert_eq!(bench.rows(), ["after-the-backup", "before-the-backup"]);
    bench.restore(RestoreTo::Latest);
    assert_eq!(bench.rows(), ["after-the-backup", "after-the-moment", "before-the-backup"]);
    let label = status.backups[0].label.parse().expect("a label");
    bench.restore(RestoreTo::Backup { label });
    assert_eq!(bench.rows(), ["before-the-backup"]);
}

/// As after each of several changes of leaders.
#[test]
fn backups_that_came_soon_after_another_go_before_the_oldest() {
    let bench = Bench::new();
    let labels = |status: &BackupStatus| -> Vec<String> {
        status.backups.iter().map(|backup| backup.label.clone()).collect()
    };
    let first = bench.wait_for("the first backup", |status| {
        !status.backups.is_empty() && status.state == "idle"
    });
    let first = labels(&first).remove(0);
    assert_eq!(bench.ask(PgRequest::BackupNow), Answer::Accepted);
    let two = bench
        .wait_for("a second backup", |status| status.backups.len() == 2 && status.state == "idle");
    assert_eq!(bench.ask(PgRequest::BackupNow), Answer::Accepted);
    bench.wait_for("a third backup in the second one's place", |status| {
        let now = labels(status);
        now.len() == 2 && now[0] == first && now[1] != two.backups[1].label
    });
}

#[test]
fn a_restore_is_refused_while_the_keeper_runs() {
    let bench = Bench::new();
    bench.wait_for("the first backup", |status| {
        !status.backups.is_empty() && status.state == "idle"
    });
    let order = Restore { to: RestoreTo::Latest, accept_data_loss: true };
    assert_eq!(bench.ask(PgRequest::Restore(order)), Answer::Accepted);
    let mut failure = None;
    until("the refusal is told", || {
        failure = bench.status().failure;
        failure.is_some()
    });
    assert!(
        failure.as_ref().is_some_and(|why| why.contains("nodectl stop pgkeeper")),
        "{failure:?}"
    );
    assert_eq!(bench.sql("select 1"), "1");
    assert!(!bench.path("home/restored").exists());
}
