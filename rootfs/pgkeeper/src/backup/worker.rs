//! The worker: asks who leads, makes what is due, carries out orders. One thing at a time.

use std::io;
use std::time::{Duration, SystemTime};

use ::control::{Answer, BackupStatus, PgRequest, Request};
use sys::notify::Notifier;

use super::config::Config;
use super::error::BackupError;
use super::info::Info;
use super::restore;
use super::room::{self, Directory};
use super::schedule::{crowded, due};
use super::shared::{IDLE, Order, Shared};
use super::tool;
use super::{ask, say};

/// Between two questions who leads.
const LOOK: Duration = Duration::from_secs(5);
/// How long the list of backups is good for; the peer may write into the same repository.
const INFO_SECONDS: u64 = 60;

/// The keeper's words for a node whose peer leads.
const FOLLOWS: [&str; 5] = ["standby", "catching-up", "stale", "rewinding", "cloning"];

/// What the keeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It leads, and PostgreSQL takes writes.
    Leads,
    /// It doesn't, and the other node does or will.
    Follows,
    /// Neither is certain, such as while it waits for its peer.
    Undecided,
    /// It is stopped: nobody listens.
    Absent,
    /// Somebody listens and doesn't answer, so PostgreSQL may run.
    Silent,
}

struct Worker<'s> {
    config: &'s Config,
    shared: &'s Shared,
    directory: Option<Directory>,
    info: Info,
    info_at: Option<u64>,
    /// Of a backup or a restore; the next one that succeeds is the end of it.
    failure: Option<Failure>,
    /// Of the list of backups; it ends when that is read again.
    list_failure: Option<Failure>,
    /// The archive's newest timeline when a backup was last made because of it.
    left_behind: Option<u32>,
}

/// What the worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Backup,
    Restore,
    List,
}

/// What went wrong, and when in seconds since 1970.
#[derive(Clone, Debug)]
struct Failure {
    of: Work,
    at: u64,
    why: String,
}

impl Failure {
    /// Says what went wrong. That the service ends is nothing wrong.
    fn new(of: Work, error: &BackupError) -> Option<Self> {
        if matches!(error, BackupError::Ending(_)) {
            return None;
        }
        let why = error.to_string();
        say(&why);
        Some(Self { of, at: now(), why })
    }
}

/// Works until the service ends, and says in a line how it is.
pub(super) fn run(config: &Config, shared: &Shared, notifier: &Notifier) {
    let mut worker = Worker::new(config, shared, Directory::of(config));
    worker.clear();
    let mut told = String::new();
    while !shared.is_ending() {
        worker.turn();
        let line = shared.see(in_a_line);
        if line != told {
            notifier.status(&line);
            told = line;
        }
        shared.wait(LOOK);
    }
}

/// What went wrong comes first: it is what somebody must know.
fn in_a_line(status: &BackupStatus) -> String {
    match &status.failure {
        Some(why) => format!("the last attempt failed: {why}"),
        None => status.state.clone(),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What the keeper says that it is.
pub(super) fn role(config: &Config) -> Role {
    match ask::ask(&config.keeper_socket, &Request::Pg(PgRequest::Status)) {
        Ok(Answer::Database(status)) if matches!(status.role.as_str(), "primary" | "solo") => {
            Role::Leads
        }
        Ok(Answer::Database(status)) if FOLLOWS.contains(&status.role.as_str()) => Role::Follows,
        Ok(_) => Role::Undecided,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Role::Absent,
            _ => Role::Silent,
        },
    }
}

impl<'s> Worker<'s> {
    fn new(config: &'s Config, shared: &'s Shared, directory: Option<Directory>) -> Self {
        let info = Info::default();
        let (info_at, failure, list_failure, left_behind) = (None, None, None, None);
        Self { config, shared, directory, info, info_at, failure, list_failure, left_behind }
    }

    /// Deletes what an earlier run of the service left half made, whoever leads.
    fn clear(&mut self) {
        if restore::was_interrupted(self.config) {
            let why = "a restore was interrupted, and has changed nothing: order it again";
            say(why);
            self.failure = Some(Failure { of: Work::Restore, at: now(), why: why.to_owned() });
        }
        restore::clear(self.config);
        if let Some(directory) = &self.directory {
            directory.clear();
        }
    }

    fn turn(&mut self) {
        let role = role(self.config);
        self.shared.set_leads(role == Role::Leads);
        let (work, done) = match self.shared.take_order() {
            Some(Order::Restore(restore)) => (Work::Restore, self.restore(&restore)),
            Some(Order::Backup) if role == Role::Leads => {
                self.refresh();
                (Work::Backup, self.backup())
            }
            Some(Order::Backup) => (Work::Backup, Ok(())),
            None => {
                self.refresh();
                (Work::Backup, self.scheduled(role))
            }
        };
        if let Err(error) = done {
            self.failure = Failure::new(work, &error).or(self.failure.take());
        }
        // Backups are the peer's business then, and so is what goes wrong with them.
        if role == Role::Follows {
            self.failure.take_if(|failure| failure.of == Work::Backup);
        }
        self.shared.done();
        let state = match role {
            Role::Leads => IDLE,
            Role::Follows => "this node doesn't lead; its peer makes the backups",
            Role::Undecided => "the pair decides who leads",
            Role::Absent => "pgkeeper is stopped",
            Role::Silent => "pgkeeper doesn't answer",
        };
        let next = (role == Role::Leads).then(|| self.due().saturating_mul(1000));
        self.tell_failure();
        self.shared.change(|status| {
            state.clone_into(&mut status.state);
            status.next_unix_ms = next;
        });
    }

    /// A list that can't be read is said only if nothing worse is to be said.
    fn tell_failure(&self) {
        let failure = self.failure.as_ref().or(self.list_failure.as_ref());
        let why = failure.map(|failure| failure.why.clone());
        self.shared.change(|status| status.failure = why);
    }

    fn due(&self) -> u64 {
        let failed_at = self.failure.iter().chain(&self.list_failure).map(|failure| failure.at);
        // A timeline that was given up stays in the archive; one backup is enough to leave it behind.
        let parted = self.info.parted.is_some_and(|timeline| self.left_behind != Some(timeline));
        let newest = self.info.newest();
        due(now(), newest, self.config.every_seconds, parted, failed_at.max())
    }

    fn scheduled(&mut self, role: Role) -> Result<(), BackupError> {
        if role == Role::Leads && self.due() <= now() { self.backup() } else { Ok(()) }
    }

    /// Reads the list of backups, if the one that is known is old.
    fn refresh(&mut self) {
        // One from the future was read before the clock was set back.
        let fresh = |at: u64| now().checked_sub(at).is_some_and(|age| age < INFO_SECONDS);
        if self.info_at.is_some_and(fresh) {
            return;
        }
        // Asked again only after a while, also when it fails.
        self.info_at = Some(now());
        let failed = self.read_list().err();
        self.list_failure = failed.and_then(|error| Failure::new(Work::List, &error));
        self.tell_failure();
    }

    fn read_list(&mut self) -> Result<(), BackupError> {
        let mut command = tool::pgbackrest(self.config);
        command.args(["--output=json", "info"]);
        let text = tool::run(command, "the list of backups", self.shared)?;
        self.info = Info::parse(&text, &self.config.stanza).map_err(BackupError::Info)?;
        let (backups, archive) = (self.info.backups.clone(), self.info.archive.clone());
        self.shared.change(|status| {
            status.backups = backups;
            status.archive = archive;
        });
        Ok(())
    }

    fn backup(&mut self) -> Result<(), BackupError> {
        self.shared.change(|status| "making a backup".clone_into(&mut status.state));
        if !self.info.made {
            let mut command = tool::pgbackrest(self.config);
            command.arg("stanza-create");
            tool::run(command, "the repository", self.shared)?;
        }
        match &self.directory {
            None => self.make(|| None)?,
            Some(directory) => self.make_in(directory).map_err(|why| directory.unmade(why))?,
        }
        say("a base backup is made");
        self.failure = None;
        self.left_behind = self.info.parted;
        self.info_at = None;
        self.refresh();
        // An old list tells nothing of the new backup.
        if self.list_failure.is_none() && self.info.is_newest_damaged() {
            let why = "pages of the database are damaged: `nodectl pg backup list` shows which \
                       backups are sound, and none is deleted until one is made that is"
                .to_owned();
            return Err(BackupError::Failed { what: "a base backup", why });
        }
        let expired = self.expire();
        self.info_at = None;
        expired
    }

    /// Deletes what is beyond the number that is kept, and the log that only that needed. pgBackRest
    /// counts damaged backups as well, so it must not do this by itself; and while nobody knows
    /// whether the newest one is sound, nothing is deleted either.
    fn expire(&self) -> Result<(), BackupError> {
        if self.list_failure.is_some() || self.info.is_newest_damaged() {
            return Ok(());
        }
        let what = "the deletion of old backups";
        let backups = &self.info.backups;
        let finished: Vec<u64> = backups.iter().map(|backup| backup.until_unix).collect();
        for place in crowded(&finished, self.config.keep, self.config.every_seconds) {
            let Some(backup) = backups.get(place) else { continue };
            let mut command = tool::pgbackrest(self.config);
            command.arg(format!("--set={}", backup.label)).arg("expire");
            tool::run(command, what, self.shared)?;
        }
        let mut command = tool::pgbackrest(self.config);
        command.arg("expire");
        tool::run(command, what, self.shared).map(drop)
    }

    fn make_in(&self, directory: &Directory) -> Result<(), BackupError> {
        let newest = self.info.backups.last().map(|newest| newest.stored_bytes);
        let bytes = newest.unwrap_or_else(|| room::of_data(&self.config.data));
        if directory.begin(bytes).is_err() {
            // There may be more than `keep`: it was lowered since, or the service ended before
            // it came to delete the oldest.
            // It may need room itself; what matters is whether there is enough then.
            if let Err(error) = self.expire() {
                say(&error.to_string());
            }
            directory.begin(bytes)?;
        }
        let made = self.make(|| directory.filling());
        if made.is_err() {
            directory.clear();
        }
        made
    }

    fn make(&self, reason: impl Fn() -> Option<BackupError> + Send) -> Result<(), BackupError> {
        say("a base backup begins");
        let mut command = tool::pgbackrest(self.config);
        command.args(["--type=full", "--no-expire-auto", "backup"]);
        tool::run_unless(command, "a base backup", self.shared, reason).map(drop)
    }

    fn restore(&mut self, wanted: &::control::Restore) -> Result<(), BackupError> {
        self.failure = None;
        self.tell_failure();
        self.shared.change(|status| "restoring".clone_into(&mut status.state));
        restore::run(self.config, self.shared, &wanted.to)?;
        say("the restore is done: start pgkeeper, and see `nodectl pg restore --help`");
        self.info_at = None;
        self.refresh();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::Command;
    use std::thread;

    use super::super::room::Room;
    use super::*;

    /// A node whose pgBackRest is this script, which can note what it is told to do in `told`.
    fn node(folder: &Path, script: &str) -> Config {
        let here = folder.display();
        let text = format!("#!/bin/sh\nfor act; do :; done\ncd {here}\n{script}\n");
        fs::write(folder.join("script"), text).unwrap();
        // A process that another test starts would inherit a descriptor of ours that can write to
        // it, and what is open for writing can't be started; so another program makes it.
        let program = folder.join("pgbackrest");
        let mut install = Command::new("install");
        install.arg("-m700").arg(folder.join("script")).arg(&program);
        assert!(install.status().unwrap().success());
        let text = format!(
            "target = 't'\nevery_seconds = 1\nkeep = 2\nsettings = '/s'\nstanza = 'plant3'\nprograms = '/p'\n\
             data = '{here}/data'\nkeeper_socket = '{here}/keeper.sock'\n\
             pgbackrest = '{here}/pgbackrest'\n"
        );
        Config::parse(&text).unwrap()
    }

    const NOTES: &str = "echo $act >>told";

    fn told(folder: &Path) -> Vec<String> {
        let told = fs::read_to_string(folder.join("told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_backup_without_room_is_not_begun_and_old_ones_are_deleted_before() {
        let folder = tempfile::tempdir().unwrap();
        let config = node(folder.path(), NOTES);
        let shared = Shared::new(&config);
        let directory = Directory::example(folder.path(), |_| Some(Room::example(300)));
        let mut worker = Worker::new(&config, &shared, Some(directory));
        let why = worker.backup().unwrap_err().to_string();
        assert!(why.contains("300 MiB free") && why.contains("archived log"), "{why}");
        assert_eq!(told(folder.path()), ["stanza-create", "expire"]);
    }

    #[test]
    fn a_backup_that_fills_the_disk_is_broken_off_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let label = "backup/plant3/20261120-115500F";
        let script = format!("[ $act != backup ] || {{ mkdir -p {label}; exec sleep 600; }}");
        let config = node(folder.path(), &script);
        let shared = Shared::new(&config);
        // It has room until it is begun.
        let directory = Directory::example(folder.path(), |repository| {
            let begun = repository.join("backup").exists();
            Some(Room::example(if begun { 200 } else { 9000 }))
        });
        let mut worker = Worker::new(&config, &shared, Some(directory));
        let why = worker.backup().unwrap_err().to_string();
        assert!(why.contains("broken off with 200 MiB") && why.contains("only grows"), "{why}");
        assert!(folder.path().join("backup/plant3").exists());
        assert!(!folder.path().join(label).exists());
    }

    /// pgBackRest makes a backup of damaged pages too, and would count it among those that are kept.
    #[test]
    fn a_damaged_backup_deletes_no_sound_one_and_is_not_made_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let told_of = |damaged: bool| {
            let until = now();
            format!(
                "{NOTES}\n[ $act != info ] || echo '[{{\"name\":\"plant3\",\"db\":[{{}}],\"backup\":[{{\
                 \"label\":\"L\",\"timestamp\":{{\"start\":{until},\"stop\":{until}}},\"error\":{damaged},\
                 \"info\":{{\"size\":1,\"repository\":{{\"delta\":1}}}}}}]}}]'"
            )
        };
        for damaged in [true, false] {
            let _none = fs::remove_file(folder.path().join("told"));
            let mut config = node(folder.path(), &told_of(damaged));
            config.every_seconds = 86_400;
            let shared = Shared::new(&config);
            let mut worker = Worker::new(&config, &shared, None);
            worker.info.made = true;
            let made = worker.backup();
            assert_eq!(made.is_err(), damaged, "{made:?}");
            assert_eq!(told(folder.path()).contains(&"expire".to_owned()), !damaged);
            assert!(worker.due() > now() + 3600, "{damaged}");
        }
    }

    #[test]
    fn a_service_that_starts_deletes_what_is_incomplete() {
        let folder = tempfile::tempdir().unwrap();
        let half = folder.path().join("backup/plant3/20261120-115500F");
        fs::create_dir_all(&half).unwrap();
        let restored = folder.path().join("restored/base");
        fs::create_dir_all(&restored).unwrap();
        let mut config = node(folder.path(), NOTES);
        config.directory = Some(folder.path().to_owned());
        let shared = Shared::new(&config);
        shared.stop();
        run(&config, &shared, &Notifier::from_environment());
        assert!(!half.exists() && !restored.exists());
        // Whoever waits for the end of the restore must not take this for it.
        let mut worker = Worker::new(&config, &shared, None);
        fs::create_dir_all(&restored).unwrap();
        worker.clear();
        worker.tell_failure();
        let why = shared.see(|status| status.failure.clone()).unwrap();
        assert!(why.contains("order it again"), "{why}");
    }

    #[test]
    fn a_failure_of_the_list_ends_when_it_is_read_and_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let config = node(folder.path(), "[ -e away ] && { echo away; exit 1; }; echo '[]'");
        let shared = Shared::new(&config);
        let mut worker = Worker::new(&config, &shared, None);
        let turn = |worker: &mut Worker, is_away: bool| {
            let away = folder.path().join("away");
            if is_away {
                fs::write(away, "").unwrap();
            } else {
                fs::remove_file(away).unwrap();
            }
            worker.info_at = None;
            worker.turn();
            shared.see(|status| status.failure.clone())
        };
        let failure = turn(&mut worker, true).unwrap();
        assert!(failure.contains("the list of backups failed: away"), "{failure}");
        assert!(worker.due() > now(), "no backup is begun while nobody knows what there is");
        assert_eq!(turn(&mut worker, false), None);
        assert!(worker.due() <= now());
        let (of, why) = (Work::Backup, "no backup".to_owned());
        worker.failure = Some(Failure { of, at: now(), why });
        assert_eq!(turn(&mut worker, true).as_deref(), Some("no backup"));
        assert_eq!(turn(&mut worker, false).as_deref(), Some("no backup"));
        worker.backup().unwrap();
        assert!(worker.failure.is_none());
    }

    #[test]
    fn a_restore_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = node(folder.path(), "echo half >restored/PG_VERSION; echo no room; exit 39");
        let shared = Shared::new(&config);
        let mut worker = Worker::new(&config, &shared, None);
        let to = ::control::RestoreTo::Latest;
        let order = ::control::Restore { to, accept_data_loss: true };
        let why = worker.restore(&order).unwrap_err().to_string();
        assert!(why.contains("no room"), "{why}");
        assert!(!folder.path().join("restored").exists());
    }

    #[test]
    fn a_keeper_that_is_there_and_says_nothing_is_not_absent() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("keeper.sock");
        let text = format!(
            "target = 't'\nevery_seconds = 1\nkeep = 2\nsettings = '/s'\nstanza = 's'\nprograms = '/p'\n\
             data = '/d/data'\nkeeper_socket = '{}'\n",
            socket.display()
        );
        let config = Config::parse(&text).unwrap();
        assert_eq!(role(&config), Role::Absent);
        let listener = UnixListener::bind(&socket).unwrap();
        let hangs_up = thread::spawn(move || drop(listener.accept().unwrap()));
        assert_eq!(role(&config), Role::Silent);
        hangs_up.join().unwrap();
        assert_eq!(role(&config), Role::Absent, "its socket is left, and nobody listens");
    }
}
