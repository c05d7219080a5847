//! The thread that drives PostgreSQL: an order, or a look at how it is, again and again.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use failover::{Lsn, PgCommand, PgReport, Ticket, Timeline};
use rustix::fs::statvfs;
use rustix::process::Signal;

use super::Say;
use super::config::{self, Part};
use super::controldata::Least;
use super::damage;
use super::driver::{Order, Report, Shared};
use super::error::DriverError;
use super::flag::wait;
use super::program;
use super::server::Server;
use super::session::{HUNG_AFTER, Session, first_value};
use super::settings::Settings;
use super::status::CANNOT_CONNECT_NOW;
use super::wire::Rows;

/// `postgres -V` reads nothing.
const VERSION_LIMIT: Duration = Duration::from_secs(20);
/// The first version whose programs know `--sync-method`.
const SYNCS_AT_ONCE: u32 = 17;

/// What the thread knows.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    pub(super) say: Say,
    /// PostgreSQL's major version.
    pub(super) major: u32,
    pub(super) server: Option<Server>,
    /// For looks and questions; none while PostgreSQL lets nobody in.
    pub(super) session: Option<Session>,
    /// What it was told to be.
    pub(super) part: Option<Part>,
    /// The addresses that it listens on, as `listen_addresses` has them.
    pub(super) listen: String,
    /// What a standby that runs, or is about to, can't do without.
    pub(super) least: Vec<Least>,
    /// Where its WAL was, when it was last seen.
    pub(super) position: (Timeline, Lsn),
    /// When to look next.
    pub(super) look_at: Instant,
    /// When it last answered.
    pub(super) answered: Instant,
    /// Looks since the start, for what isn't done at each.
    pub(super) looks: u32,
    /// It was told that a standby can't follow, and nothing was repaired since.
    pub(super) parted: bool,
    /// Roles of the seed couldn't be made, by whoever leads.
    pub(super) lacks_roles: bool,
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        shared: Arc<Shared>,
        say: Say,
    ) -> Result<Self, DriverError> {
        let postgres = settings.program("postgres");
        let mut command = program::command(&postgres);
        let version = program::run(command.arg("-V"), "", VERSION_LIMIT, &shared.halt)?;
        let version = version.trim().to_owned();
        let number = version.rsplit("SQL) ").next().unwrap_or_default();
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let major = digits.parse();
        let major = major.map_err(|_| DriverError::Strange { query: "postgres -V".to_owned() })?;
        let has_damaged_copy = damage::is_remembered(&settings);
        shared.detail(|detail| {
            detail.version = version;
            detail.has_damaged_copy = has_damaged_copy;
            "stopped".clone_into(&mut detail.role);
        });
        let now = Instant::now();
        Ok(Self {
            settings,
            shared,
            say,
            major,
            server: None,
            session: None,
            part: None,
            listen: String::new(),
            least: Vec::new(),
            position: (Timeline(0), Lsn(0)),
            look_at: now,
            answered: now,
            looks: 0,
            parted: false,
            lacks_roles: false,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            match self.shared.next_order() {
                Some(Order::Command(ticket, command)) => self.carry_out(ticket, command),
                Some(Order::FenceRevision(ticket)) => self.fence_revision(ticket),
                Some(Order::Quit) => {
                    self.end_server();
                    return;
                }
                None => self.look_around(),
            }
        }
    }

    fn carry_out(&mut self, ticket: Ticket, command: PgCommand) {
        let begin = Instant::now();
        match self.obey(command) {
            Ok(()) => {
                let ((timeline, lsn), took) = (self.position, begin.elapsed());
                self.tell(PgReport::Done(ticket, timeline, lsn));
                (self.say)(&format!("{command:?} done in {took:?}"));
                self.after(command);
            }
            Err(DriverError::Overtaken) => {}
            Err(error) => {
                let took = begin.elapsed();
                self.end_certainly();
                self.tell(PgReport::Failed(ticket));
                (self.say)(&format!("{command:?} failed after {took:?}: {error}"));
            }
        }
    }

    fn obey(&mut self, command: PgCommand) -> Result<(), DriverError> {
        match command {
            PgCommand::InitDb => self.create(),
            PgCommand::StartPrimary { wait } => self.start_primary(wait),
            PgCommand::StartStandby { receive } => self.start_standby(receive),
            PgCommand::StopReceiver => self.stop_receiver(),
            PgCommand::Promote => self.promote(),
            PgCommand::RequirePeer => self.require_peer(),
            PgCommand::ReleasePeer => self.release_peer(),
            PgCommand::Stop => {
                self.end_certainly();
                Ok(())
            }
            PgCommand::StopClean => self.stop_clean(),
            PgCommand::Rewind => self.rewind(),
            PgCommand::Reclone => self.reclone(),
        }
    }

    /// What nobody waits for.
    fn after(&mut self, command: PgCommand) {
        for chore in chores(command) {
            let done = match chore {
                Chore::MakeSlot => self.make_slot(),
                Chore::HelpRewind => self.help_rewind(),
                Chore::MakeRoles => self.make_roles(),
                Chore::DropSlots => self.drop_slots(),
            };
            if let Err(error) = done {
                (self.say)(&format!("after {command:?}: {error}"));
            }
        }
    }

    pub(super) fn tell(&self, report: PgReport) {
        self.shared.report(Report::Postgres(report));
    }

    /// Waits for an order, the end of PostgreSQL, or the time of the next look.
    fn look_around(&mut self) {
        let left = self.look_at.saturating_duration_since(Instant::now());
        let wake = self.shared.wake.as_fd();
        let waited = match &self.server {
            Some(server) => wait([wake, server.end()], left).map(|_| ()),
            None => wait([wake], Duration::from_hours(1)).map(|_| ()),
        };
        if let Err(error) = waited {
            (self.say)(&format!("the driver of PostgreSQL can't wait: {error}"));
            thread::sleep(Duration::from_millis(100));
        }
        self.notice_end();
        self.look_if_due();
    }

    /// PostgreSQL may have ended by itself.
    fn notice_end(&mut self) {
        if let Some(status) = self.server.as_mut().and_then(Server::has_ended) {
            // A standby's last words may say that it can't follow; a primary's end can't wait.
            if matches!(self.part, Some(Part::Standby { .. })) {
                self.wait_for_log();
                self.tell_if_parted();
            }
            self.end_certainly();
            self.tell(PgReport::Exited);
            (self.say)(&format!("PostgreSQL ended by itself: {status}"));
        }
    }

    /// A short pause in a loop that waits for PostgreSQL; ended by a stop, or by PostgreSQL's end.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), DriverError> {
        let halt = self.shared.halt.as_fd();
        let Some(server) = &mut self.server else {
            return Err(DriverError::Ended { status: "it isn't running".to_owned() });
        };
        match wait([halt, server.end()], time).map_err(DriverError::Resources)? {
            [true, _] => Err(DriverError::Overtaken),
            [_, true] => {
                let status = server.has_ended();
                let status = status.map_or("unknown".to_owned(), |status| status.to_string());
                Err(DriverError::Ended { status })
            }
            _ => Ok(()),
        }
    }

    /// Writes the configuration for this part; PostgreSQL reads it at its start or on
    /// [`Worker::reload`].
    pub(super) fn configure(&mut self, part: Part) -> Result<(), DriverError> {
        // A disk whose size isn't known counts as a large one.
        let disk = statvfs(&self.settings.folder)
            .map_or(u64::MAX, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        let text =
            config::render(&self.settings, part, self.major, &self.listen, disk, &self.least);
        sys::durable::write(&self.settings.configuration(), text.as_bytes(), 0o600)?;
        self.part = Some(part);
        Ok(())
    }

    pub(super) fn reload(&self) {
        if let Some(server) = &self.server {
            server.signal(Signal::HUP);
        }
    }

    /// Asks on behalf of a command that would end PostgreSQL if it failed, so it waits for a slow disk for
    /// as long as a silent PostgreSQL counts as alive.
    pub(super) fn ask(&mut self, query: &str) -> Result<Rows, DriverError> {
        self.ask_within(query, HUNG_AFTER)
    }

    /// The first value of the answer.
    pub(super) fn ask_one(&mut self, query: &str) -> Result<String, DriverError> {
        first_value(self.ask(query)?, query)
    }

    /// Asks by the session that is kept, or by a new one.
    pub(super) fn ask_within(&mut self, query: &str, limit: Duration) -> Result<Rows, DriverError> {
        let end = Instant::now() + limit;
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect("postgres", end)?,
        };
        let answer = session.ask(query, end, &self.shared.halt);
        if is_answer(&answer) {
            self.answered = Instant::now();
            // With the other refusals the server ends the session.
            if !answer.as_ref().is_err_and(DriverError::ends_session) {
                self.session = Some(session);
            }
        }
        answer
    }

    /// One more connection, as the superuser, to this database. That it can be had shows no life: where
    /// something in PostgreSQL hangs, log-ins may still work when nothing that is asked is answered.
    pub(super) fn connect(&mut self, database: &str, end: Instant) -> Result<Session, DriverError> {
        let opened = Session::open(&self.settings.socket(), database, end, &self.shared.halt);
        if matches!(&opened, Err(DriverError::Refused { code, .. }) if code == CANNOT_CONNECT_NOW) {
            self.answered = Instant::now();
        }
        opened
    }

    /// How programs that make data bring it to the disk: all at once, if they know how. File by file
    /// takes seconds.
    pub(super) fn sync_method(&self) -> &'static [&'static str] {
        if self.major >= SYNCS_AT_ONCE { &["--sync-method=syncfs"] } else { &[] }
    }

    pub(super) fn role(&self, role: &str) {
        self.shared.detail(|detail| role.clone_into(&mut detail.role));
    }
}

/// What is done after a command, when its answer is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    MakeSlot,
    HelpRewind,
    MakeRoles,
    DropSlots,
}

/// In this order, each whether or not the one before went well. Roles of a newer seed are made by
/// whoever becomes the primary: the old one may never have seen that seed.
fn chores(command: PgCommand) -> &'static [Chore] {
    match command {
        PgCommand::StartPrimary { .. } => &[Chore::MakeSlot, Chore::MakeRoles],
        PgCommand::Promote => &[Chore::MakeSlot, Chore::HelpRewind, Chore::MakeRoles],
        PgCommand::StartStandby { .. } => &[Chore::DropSlots],
        _ => &[],
    }
}

/// Whether PostgreSQL has shown that it lives.
fn is_answer<T>(answer: &Result<T, DriverError>) -> bool {
    matches!(answer, Ok(_) | Err(DriverError::Refused { .. }))
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in SQL.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_becomes_a_primary_has_a_slot_and_the_roles_of_its_seed() {
        for command in [PgCommand::StartPrimary { wait: true }, PgCommand::Promote] {
            let chores = chores(command);
            assert!(chores.contains(&Chore::MakeSlot), "{command:?}: {chores:?}");
            assert!(chores.contains(&Chore::MakeRoles), "{command:?}: {chores:?}");
        }
        let standby = PgCommand::StartStandby { receive: true };
        assert_eq!(chores(standby), [Chore::DropSlots], "a standby can't write");
    }
}
