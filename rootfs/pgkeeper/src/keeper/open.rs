//! How the loop gets everything that it works with. Nothing here waits for a disk, a peer, a
//! witness or PostgreSQL: the service is ready at once, and its state says what it is ready for.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use failover::{Arbiter, Failover, Policy};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::Signal;
use sys::clock;
use sys::notify::Notifier;
use sys::signals::SignalFd;

use super::carrier::Carrier;
use super::channels::Channels;
use super::config::{Config, Files, User};
use super::disk::{self, Health};
use super::error::KeeperError;
use super::gateways::Gateways;
use super::inbox::inbox;
use super::isolation::isolate;
use super::log::Log;
use super::memory::{Found, remember};
use super::packet::Seal;
use super::permit::Holder;
use super::role::Keeper;
use super::words::Pair;
use super::{asked, asker, say};
use crate::Identity;
use crate::gate::{self, Gate, Patience};
use crate::postgres::{self, Certificates, Driver};
use crate::witness::client::Client;

fn system(what: &'static str) -> impl Fn(io::Error) -> KeeperError {
    move |source| KeeperError::System { what, source }
}

impl Keeper {
    /// Opens everything.
    pub(crate) fn open(config: Config) -> Result<Self, KeeperError> {
        // Before there is any thread, so that none of them takes a signal.
        let signals =
            SignalFd::new(&[Signal::TERM, Signal::INT]).map_err(system("signals can't be read"))?;
        let lock = lock(&config.state)?;
        let identity = identity(&config.identity)?;
        let mut log = Log::new();
        for failed in isolate(config.realtime_priority) {
            log.line(failed);
        }
        let now = clock::boot();
        let (settings, side) = (config.protocol(), config.side());
        let (outlet, inbox) = inbox().map_err(system("nothing can wake the loop"))?;
        let gate = Gate::start(gate_settings(&config, &identity), Box::new(say))?;
        let witness = match &config.failover.witness {
            Some(at) => {
                let (host, port) = (&at.address, at.port);
                let client = Client::new(host, port, &config.cluster, side, &identity)?;
                let asked = asker::ask(client, outlet.clone());
                Some(asked.map_err(system("no thread for the witness"))?)
            }
            None => None,
        };
        let carrier = match Carrier::open(&config.channels) {
            Ok(carrier) => Some(carrier),
            Err(error) => {
                log.line(format_args!("cables aren't watched, only heartbeats: {error}"));
                None
            }
        };
        let door = match asked::open(&config) {
            Ok(door) => Some(door),
            Err(error) => {
                log.line(error);
                None
            }
        };
        let nonce = nonce()?;
        let by_policy = settings.arbiter == Arbiter::Policy(Policy::Availability);
        let postgres = postgres_settings(&config);
        let driver = Driver::start(postgres.clone(), Box::new(say))?;
        let look = move || {
            let data = Driver::data(&postgres, &say);
            Found { data, restored: Driver::is_restored(&postgres) }
        };
        let memory = remember(&config.state, settings.cluster, side, look, outlet.clone())
            .map_err(system("no thread for the record"))?;
        disk::watch(&config.state, config.disk, outlet.clone())
            .map_err(system("no thread for the disk"))?;
        Ok(Self {
            core: Failover::new(settings),
            settings,
            names: asked::names(&config),
            door,
            pair: Pair { nodes: config.pair.clone(), side },
            nonce,
            booted: false,
            signals,
            inbox,
            outlet,
            memory,
            witness,
            witness_silent: None,
            channels: Channels::new(&config.channels, Seal::new(&config.heartbeat_key)),
            carrier,
            gateways: by_policy.then(|| Gateways::new(nonce)),
            gateways_due: now,
            missing_due: now,
            routers_due: now,
            permit: Holder::new(&config.permit_socket),
            gate,
            postgres: driver,
            busy: None,
            fence: None,
            health: Health::new(config.disk, now),
            notifier: Notifier::from_environment(),
            alive_due: now,
            told: String::new(),
            log,
            stop: None,
            anew_at: None,
            actions: Vec::new(),
            last: now,
            config,
            _lock: lock,
        })
    }
}

/// Two keepers with one record would be two voters with one memory.
fn lock(state: &Path) -> Result<File, KeeperError> {
    let fail = |source| KeeperError::State { path: state.to_owned(), source };
    let flags = i32::try_from(OFlags::DIRECTORY.bits()).unwrap_or(0);
    let folder = {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().read(true).custom_flags(flags).open(state).map_err(fail)?
    };
    flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|error| fail(error.into()))?;
    Ok(folder)
}

fn identity(files: &Files) -> Result<Identity, KeeperError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|source| KeeperError::File { path: path.to_owned(), source })
    };
    Ok(Identity {
        ca_certificate: read(&files.ca_certificate)?,
        certificate: read(&files.certificate)?,
        key: read(&files.key)?,
    })
}

fn user(user: &User) -> gate::User {
    gate::User { role: user.role.clone(), clients: user.clients.clone() }
}

fn gate_settings(config: &Config, identity: &Identity) -> gate::Settings {
    let nodes = config.postgres.peers.iter().chain(&config.postgres.listen);
    gate::Settings {
        listen: config.gate.listen,
        known: nodes.copied().collect(),
        backend: config.postgres.socket(),
        identity: identity.clone(),
        database: config.postgres.database.clone(),
        users: config.postgres.users.iter().map(user).collect(),
        max_connections: usize::try_from(config.postgres.max_connections).unwrap_or(usize::MAX),
        patience: Patience::default(),
    }
}

fn postgres_settings(config: &Config) -> postgres::Settings {
    let (wanted, files) = (config.postgres.clone(), config.identity.clone());
    let users = wanted.users.iter();
    postgres::Settings {
        name: config.node.clone(),
        peer_name: config.peer().to_owned(),
        certificates: Certificates {
            ca: files.ca_certificate,
            certificate: files.certificate,
            key: files.key,
            replication_certificate: files.replication_certificate,
            replication_key: files.replication_key,
        },
        users: users.map(|it| postgres::User { user: user(it), owner: it.owner }).collect(),
        programs: wanted.programs,
        folder: wanted.folder,
        socket_folder: wanted.sockets,
        peer_addresses: wanted.peers,
        listen: wanted.listen,
        replication_port: wanted.port,
        peer_port: wanted.peer_port,
        database: wanted.database,
        max_connections: wanted.max_connections,
        shared_buffers: wanted.shared_buffers,
        synchronous: wanted.synchronous,
        settings: wanted.settings,
        archive_command: wanted.archive_command,
    }
}

/// A random number that no other boot has; never 0.
fn nonce() -> Result<u64, KeeperError> {
    let mut bytes = [0; 8];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| system("no random numbers")(io::ErrorKind::Other.into()))?;
    Ok(u64::from_be_bytes(bytes).max(1))
}
