//! Starting PostgreSQL, as a primary or as a standby.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use rustix::fs::Access;

use super::boot;
use super::config::{self, Part, Waits};
use super::controldata;
use super::error::{DriverError, about};
use super::server::Server;
use super::session::{HUNG_AFTER, PATIENCE};
use super::settings::PEER_CERTIFICATE_NAME;
use super::settings::standby_signal;
use super::status::CANNOT_CONNECT_NOW;
use super::worker::{Worker, literal};
use crate::gate::hba::Hba;

/// Recovery from a crash reads all WAL since the last checkpoint, on the slowest of disks.
const START_LIMIT: Duration = Duration::from_mins(15);
/// A standby lets nobody in until it is consistent, for which it may need the peer.
const STANDBY_PATIENCE: Duration = Duration::from_secs(1);
/// The last words of a server that has ended are read by then.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const TRY_EVERY: Duration = Duration::from_millis(10);

impl Worker {
    pub(super) fn start_primary(&mut self, wait: bool) -> Result<(), DriverError> {
        self.must_be_stopped("StartPrimary")?;
        let data = self.settings.data();
        if standby_signal(&data).exists() {
            let (command, role) = ("StartPrimary".to_owned(), "a standby's data".to_owned());
            return Err(DriverError::Senseless { command, role });
        }
        let waits = if wait { Waits::Forever } else { Waits::No };
        self.launch(Part::Primary(waits))?;
        self.await_session(START_LIMIT)?;
        if wait {
            return self.see_waiting();
        }
        self.look().map(drop)
    }

    pub(super) fn start_standby(&mut self, receive: bool) -> Result<(), DriverError> {
        if self.server.is_some() {
            return if receive { self.start_receiver() } else { self.stop_receiver() };
        }
        boot::make_standby(&self.settings.data())?;
        self.open_way(receive)?;
        self.launch(Part::Standby { receive })?;
        match self.await_session(STANDBY_PATIENCE) {
            Ok(()) => self.look().map(drop),
            // It runs, and streams what it needs before it can let anybody in.
            Err(DriverError::Late { .. }) => {
                self.answered = Instant::now();
                Ok(())
            }
            Err(error @ DriverError::Ended { .. }) => {
                // Its last words may say that it can't follow.
                self.wait_for_log();
                self.tell_if_parted();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn wait_for_log(&mut self) {
        let end = Instant::now() + LOG_PATIENCE;
        let read = |server: &Server| server.log_is_read();
        while !self.server.as_ref().is_none_or(read) && Instant::now() < end {
            std::thread::sleep(TRY_EVERY);
        }
    }

    pub(super) fn must_be_stopped(&self, command: &str) -> Result<(), DriverError> {
        match &self.server {
            None => Ok(()),
            Some(_) => Err(DriverError::Senseless {
                command: command.to_owned(),
                role: "running".to_owned(),
            }),
        }
    }

    /// Starts the server with everything rendered anew.
    pub(super) fn launch(&mut self, part: Part) -> Result<(), DriverError> {
        self.role("starting");
        self.look_what_is_needed(part)?;
        self.prepare(part)?;
        boot::forget_own_settings(&self.settings.data())?;
        boot::forget_restored(&self.settings.data())?;
        self.server = Some(Server::start(&self.settings, &self.say)?);
        self.answered = Instant::now();
        Ok(())
    }

    /// A standby whose primary had more connections than this node's seed gives, or has, couldn't
    /// replay what says so, and couldn't be promoted.
    fn look_what_is_needed(&mut self, part: Part) -> Result<(), DriverError> {
        self.least = match part {
            Part::Primary(_) => Vec::new(),
            Part::Standby { .. } | Part::Settling => {
                controldata::least(&self.control_text(&self.settings.data())?)
            }
        };
        Ok(())
    }

    /// Writes all configuration.
    pub(super) fn prepare(&mut self, part: Part) -> Result<(), DriverError> {
        let settings = &self.settings;
        let private = &settings.certificates.key;
        rustix::fs::access(private, Access::READ_OK)
            .map_err(std::io::Error::from)
            .map_err(about("read", private))?;
        let system_user = user_name()?;
        let roles: Vec<&str> = settings.users.iter().map(|user| user.user.role.as_str()).collect();
        let hba = Hba {
            system_user: &system_user,
            database: &settings.database,
            roles: &roles,
            peer_name: PEER_CERTIFICATE_NAME,
        };
        sys::durable::write(&settings.hba(), hba.hba().as_bytes(), 0o600)?;
        sys::durable::write(&settings.ident(), hba.ident().as_bytes(), 0o600)?;
        self.listen = self.addresses();
        self.configure(part)
    }

    /// Where the peer may call. An address that isn't there yet, such as on a link that is down,
    /// would stay without a listener until the next start; then PostgreSQL listens on all of them.
    fn addresses(&self) -> String {
        let missing = |address: &&std::net::IpAddr| {
            TcpListener::bind(SocketAddr::from((**address, 0))).is_err()
        };
        if let Some(address) = self.settings.listen.iter().find(missing) {
            (self.say)(&format!("{address} isn't there yet: PostgreSQL listens on all addresses"));
            return "*".to_owned();
        }
        let addresses: Vec<String> = self.settings.listen.iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// Waits until PostgreSQL lets the keeper in.
    pub(super) fn await_session(&mut self, limit: Duration) -> Result<(), DriverError> {
        let end = Instant::now() + limit;
        loop {
            match self.connect("postgres", Instant::now() + limit.min(HUNG_AFTER)) {
                Ok(session) => {
                    self.session = Some(session);
                    self.answered = Instant::now();
                    return Ok(());
                }
                Err(DriverError::Refused { code, .. }) if code == CANNOT_CONNECT_NOW => {}
                // The socket isn't there yet, or the start failed, which the pause notices.
                Err(DriverError::Connection { .. }) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= end {
                return Err(DriverError::Late { what: "PostgreSQL's start".to_owned(), limit });
            }
            self.pause(TRY_EVERY)?;
        }
    }

    pub(super) fn slot_of_peer(&self) -> String {
        config::slot(&self.settings.peer_name)
    }

    /// A primary keeps what its peer hasn't got; if it couldn't, a new slot starts from now. Nobody
    /// waits for it, and it is tried again, so it holds up no looks.
    pub(super) fn make_slot(&mut self) -> Result<(), DriverError> {
        let slot = literal(&self.slot_of_peer());
        let drop = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name \
             = {slot} and wal_status = 'lost' and not active"
        );
        self.ask_within(&drop, PATIENCE)?;
        let make = format!(
            "select pg_create_physical_replication_slot({slot}, true) where not exists (select \
             from pg_replication_slots where slot_name = {slot})"
        );
        self.ask_within(&make, PATIENCE).map(std::mem::drop)
    }

    /// A standby keeps WAL for nobody: a slot that nobody reads would fill its disk.
    pub(super) fn drop_slots(&mut self) -> Result<(), DriverError> {
        if self.session.is_none() {
            return Ok(());
        }
        let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where \
                    slot_type = 'physical' and not active";
        self.ask_within(drop, PATIENCE).map(std::mem::drop)
    }
}

/// The user that PostgreSQL runs as, by the name that the kernel's answer is looked up under.
fn user_name() -> Result<String, DriverError> {
    const USERS: &str = "/etc/passwd";
    let path = std::path::Path::new(USERS);
    let text = fs::read_to_string(path).map_err(about("read", path))?;
    let own = rustix::process::geteuid().as_raw().to_string();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number == own).then(|| name.to_owned())
    });
    let unknown = || std::io::Error::other(format!("it doesn't name user {own}"));
    named.ok_or_else(unknown).map_err(about("find this process's user in", path))
}
