//! The worker: asks who leads, makes what is due, carries out orders. One thing at a time.

use std::io;
use std::time::{Duration, SystemTime};

use ::control::{Answer, BackupStatus, PgRequest, Request};
use sys::notify::Notifier;

use super::config::Config;
use super::error::BackupError;
use super::info::Info;
use super::restore;
use super::schedule::due;
use super::shared::{IDLE, Order, Shared};
use super::tool;
use super::{ask, say};

/// Between two questions who leads.
const LOOK: Duration = Duration::from_secs(5);
/// How long the list of backups is good for; the peer may write into the same repository.
const INFO_SECONDS: u64 = 60;

/// What the keeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It leads, and PostgreSQL takes writes.
    Leads,
    /// It doesn't.
    Follows,
    /// It is stopped: nobody listens.
    Absent,
    /// Somebody listens and doesn't answer, so PostgreSQL may run.
    Silent,
}

struct Worker<'s> {
    config: &'s Config,
    shared: &'s Shared,
    info: Info,
    info_at: Option<u64>,
    failed_at: Option<u64>,
}

/// Works until the service ends, and says in a line how it is.
pub(super) fn run(config: &Config, shared: &Shared, notifier: &Notifier) {
    let mut worker =
        Worker { config, shared, info: Info::default(), info_at: None, failed_at: None };
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
        Ok(_) => Role::Follows,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Role::Absent,
            _ => Role::Silent,
        },
    }
}

impl Worker<'_> {
    fn turn(&mut self) {
        let role = role(self.config);
        self.shared.set_leads(role == Role::Leads);
        let done = match self.shared.take_order() {
            Some(Order::Restore(restore)) => self.restore(&restore),
            Some(Order::Backup) if role == Role::Leads => self.backup(),
            Some(Order::Backup) => Ok(()),
            None => self.refresh().and_then(|()| self.scheduled(role)),
        };
        if let Err(error) = done {
            self.fail(&error);
        }
        let state = match role {
            Role::Leads => IDLE,
            Role::Follows => "this node doesn't lead; its peer makes the backups",
            Role::Absent => "pgkeeper is stopped",
            Role::Silent => "pgkeeper doesn't answer",
        };
        let next = (role == Role::Leads).then(|| self.due().saturating_mul(1000));
        self.shared.change(|status| {
            state.clone_into(&mut status.state);
            status.next_unix_ms = next;
        });
    }

    fn fail(&mut self, error: &BackupError) {
        if !matches!(error, BackupError::Ending(_)) {
            say(&error.to_string());
            self.failed_at = Some(now());
            self.shared.change(|status| status.failure = Some(error.to_string()));
        }
    }

    fn due(&self) -> u64 {
        due(now(), self.info.newest(), self.config.every_seconds, self.failed_at)
    }

    fn scheduled(&mut self, role: Role) -> Result<(), BackupError> {
        if role == Role::Leads && self.due() <= now() { self.backup() } else { Ok(()) }
    }

    /// Reads the list of backups, if the one that is known is old.
    fn refresh(&mut self) -> Result<(), BackupError> {
        let fresh = |at: u64| now().saturating_sub(at) < INFO_SECONDS;
        if self.info_at.is_some_and(fresh) {
            return Ok(());
        }
        // Asked again only after a while, also when it fails.
        self.info_at = Some(now());
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
        say("a base backup begins");
        let mut command = tool::pgbackrest(self.config);
        command.args(["--type=full", "backup"]);
        tool::run(command, "a base backup", self.shared)?;
        say("a base backup is made");
        self.failed_at = None;
        self.shared.change(|status| status.failure = None);
        self.info_at = None;
        self.refresh()
    }

    fn restore(&mut self, wanted: &::control::Restore) -> Result<(), BackupError> {
        self.shared.change(|status| {
            "restoring".clone_into(&mut status.state);
            status.failure = None;
        });
        restore::run(self.config, self.shared, &wanted.to)?;
        say("the restore is done: start pgkeeper, and see `nodectl pg restore --help`");
        self.info_at = None;
        self.refresh()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_keeper_that_is_there_and_says_nothing_is_not_absent() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("keeper.sock");
        let text = format!(
            "target = 't'\nevery_seconds = 1\nsettings = '/s'\nstanza = 's'\nprograms = '/p'\n\
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
