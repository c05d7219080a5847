//! A run's clients: started together, stopped together, and the whole set read back at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pace::{Numbers, Pace, Stop};
use super::postgres::{Postgres, Target, TargetError};
use super::tcp::{Tcp, Wanted};
use super::{Clock, Request, Service, perform};
use crate::history::{Operation, Outcome, Row};

/// More workers or operations than these test the tester.
const WORKERS_MAX: u32 = 64;
const EVERY_MS_MIN: u64 = 5;
/// Between two attempts at what must succeed once: the table at the beginning, the reads at the end.
const PAUSE: Duration = Duration::from_millis(200);

/// What a run's clients do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Addresses that are asked whether anybody is there.
    #[serde(default)]
    pub pings: Vec<Pings>,
    /// A database that rows are appended to.
    #[serde(default)]
    pub postgres: Option<Appends>,
}

/// An address that is asked again and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pings {
    /// Where.
    pub address: SocketAddr,
    /// What counts as an answer.
    #[serde(default)]
    pub wanted: Wanted,
    /// How often; a sample begins so often even while others wait for their answer.
    pub every_ms: u64,
    /// How long an answer may take.
    pub limit_ms: u64,
}

/// A database that rows are appended to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appends {
    /// The database, at the address that its clients use.
    pub target: Target,
    /// How many clients at a time.
    pub workers: u32,
    /// Their numbers begin after this one: a table that earlier clients wrote to has theirs.
    #[serde(default)]
    pub after: u32,
    /// How often one of them appends.
    pub every_ms: u64,
    /// How long the table may take at the beginning.
    pub prepare_ms: u64,
    /// From where else the set is read at the end: nodes' own addresses. A standby shows what it
    /// has replayed, so name it only if it has caught up by then, or what it lacks counts as lost.
    #[serde(default)]
    pub read_from: Vec<SocketAddr>,
}

/// Settings that can't be carried out.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A number is out of bounds.
    #[error("{key} is {value}; it may be from {least} to {most}")]
    Bounds {
        /// Which.
        key: &'static str,
        /// What it is.
        value: u64,
        /// The bounds.
        least: u64,
        /// Both included.
        most: u64,
    },
    /// The database.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No thread.
    #[error("no thread for a client: {0}")]
    Thread(#[from] std::io::Error),
}

fn bounded(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), SettingsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::Bounds { key, value, least, most })
}

/// Where operations go when they are over.
pub type Tell = Arc<dyn Fn(Operation) + Send + Sync>;

/// What all workers share.
struct Shared {
    stop: Stop,
    numbers: Numbers,
    clock: Clock,
    tell: Tell,
}

/// Running clients. Dropping it stops them.
pub struct Session {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    readers: Vec<Postgres>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Session {
    /// Makes the table, then starts all clients.
    pub fn start(settings: &Settings, clock: Clock, tell: Tell) -> Result<Self, SettingsError> {
        check(settings)?;
        let after = settings.postgres.as_ref().map_or(0, |appends| appends.after);
        let numbers = Numbers::after(after);
        let shared = Arc::new(Shared { stop: Stop::default(), numbers, clock, tell });
        let mut session = Self { shared, workers: Vec::new(), readers: Vec::new() };
        if let Some(appends) = &settings.postgres {
            let mut postgres = Postgres::new(appends.target.clone())?;
            prepare(&mut postgres, Duration::from_millis(appends.prepare_ms))?;
            session.readers.push(postgres.another());
            session.readers.extend(appends.read_from.iter().map(|node| postgres.at(*node)));
            session.spawn(appends.every_ms, appends.workers, true, |_| postgres.another())?;
        }
        for pings in &settings.pings {
            let limit = Duration::from_millis(pings.limit_ms);
            let tcp = Tcp { address: pings.address, wanted: pings.wanted, limit };
            // As many as may wait at once, so that the next sample is never late.
            let workers = u32::try_from(pings.limit_ms.div_ceil(pings.every_ms) + 1);
            let workers = workers.unwrap_or(WORKERS_MAX).min(WORKERS_MAX);
            session.spawn(pings.every_ms, workers, false, |_| tcp)?;
        }
        Ok(session)
    }

    fn spawn<S: Service + 'static>(
        &mut self,
        every_ms: u64,
        workers: u32,
        appends: bool,
        service: impl Fn(u32) -> S,
    ) -> Result<(), SettingsError> {
        let (start, every) = (Instant::now(), Duration::from_millis(every_ms));
        for worker in 0..workers {
            let pace = Pace::of_worker(start, every, worker, workers);
            let (shared, mut service) = (self.shared.clone(), service(worker));
            let work = move || shared.work(&mut service, pace, appends);
            let thread = thread::Builder::new().name("client".to_owned()).spawn(work)?;
            self.workers.push(thread);
        }
        Ok(())
    }

    /// Stops the clients, then reads the whole set at every place, trying until it is answered or
    /// `limit` is over. Says whether every place answered.
    pub fn finish(mut self, limit: Duration) -> bool {
        self.stop();
        let deadline = Instant::now() + limit;
        let mut readers = std::mem::take(&mut self.readers);
        let read = |reader: &mut Postgres| self.shared.read(reader, deadline);
        readers.iter_mut().map(read).fold(true, |all, answered| all & answered)
    }

    fn stop(&mut self) {
        self.shared.stop.stop();
        for worker in self.workers.drain(..) {
            // One that panicked has said so; its operations up to then count.
            let _ended = worker.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work(&self, service: &mut dyn Service, mut pace: Pace, appends: bool) {
        let mut process = self.numbers.process();
        while self.stop.wait_until(pace.next(Instant::now())) {
            let request = if appends {
                Request::Append(Row(process, self.numbers.value()))
            } else {
                Request::Ping
            };
            let operation = perform(service, process, request, self.clock);
            // It may still happen, so its process isn't free for another one. A ping changes
            // nothing, whenever it arrives.
            if appends && operation.outcome == Outcome::Info {
                process = self.numbers.process();
            }
            (self.tell)(operation);
        }
    }

    /// Reading changes nothing, so it may be tried again; each attempt is told.
    fn read(&self, reader: &mut Postgres, deadline: Instant) -> bool {
        let process = self.numbers.process();
        loop {
            let operation = perform(reader, process, Request::Read, self.clock);
            let answered = operation.is_ok();
            (self.tell)(operation);
            if answered || Instant::now() + PAUSE >= deadline {
                return answered;
            }
            thread::sleep(PAUSE);
        }
    }
}

fn check(settings: &Settings) -> Result<(), SettingsError> {
    for pings in &settings.pings {
        bounded("pings.every_ms", pings.every_ms, EVERY_MS_MIN, 60_000)?;
        bounded("pings.limit_ms", pings.limit_ms, 1, 60_000)?;
    }
    if let Some(appends) = &settings.postgres {
        bounded("postgres.every_ms", appends.every_ms, EVERY_MS_MIN, 60_000)?;
        bounded("postgres.workers", appends.workers.into(), 1, WORKERS_MAX.into())?;
        bounded("postgres.target.connect_ms", appends.target.connect_ms, 1, 60_000)?;
        bounded("postgres.target.statement_ms", appends.target.statement_ms, 1, 60_000)?;
    }
    Ok(())
}

/// Making a table that may be there already can be tried again without harm.
fn prepare(postgres: &mut Postgres, limit: Duration) -> Result<(), SettingsError> {
    let deadline = Instant::now() + limit;
    loop {
        match postgres.prepare() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() + PAUSE >= deadline => return Err(error.into()),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Mutex;

    use super::*;
    use crate::history::{History, Kind};

    fn run(settings: &Settings, span: Duration) -> (History, bool) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = told.clone();
        let clock = Clock::from(Instant::now());
        let tell: Tell = Arc::new(move |operation| keep.lock().unwrap().push(operation));
        let session = Session::start(settings, clock, tell).unwrap();
        thread::sleep(span);
        let read = session.finish(Duration::ZERO);
        let operations = told.lock().unwrap().clone();
        (History { operations }, read)
    }

    fn pings(address: SocketAddr, wanted: Wanted) -> Settings {
        let pings = Pings { address, wanted, every_ms: 20, limit_ms: 300 };
        Settings { pings: vec![pings], postgres: None }
    }

    #[test]
    fn samples_begin_on_time_although_nobody_answers() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let settings = pings(listener.local_addr().unwrap(), Wanted::Name);
        let (history, _) = run(&settings, Duration::from_secs(1));
        assert!(history.operations.iter().all(|ping| ping.outcome == Outcome::Info));
        // Fifty would begin on an idle machine; one worker alone would begin three.
        assert!(history.operations.len() >= 15, "{}", history.operations.len());
        let mut ends = BTreeMap::new();
        for ping in &history.operations {
            let before = ends.insert(ping.process, ping.completed);
            assert!(before <= Some(ping.invoked), "a process does one thing at a time");
        }
    }

    #[test]
    fn pings_tell_of_a_service_that_answers() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let settings = pings(listener.local_addr().unwrap(), Wanted::Accepted);
        let (history, read) = run(&settings, Duration::from_millis(300));
        assert!(history.acknowledged(Kind::Ping).count() > 0);
        assert!(read, "nothing is to be read, so nothing is missing");
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let mut settings = pings((Ipv4Addr::LOCALHOST, 1).into(), Wanted::Accepted);
        settings.pings[0].every_ms = 1;
        let error = check(&settings).unwrap_err().to_string();
        assert_eq!(error, "pings.every_ms is 1; it may be from 5 to 60000");
    }
}
