//! The rig's end of the way to a guest's probe.
//!
//! The socket listens as long as the rig has the machine; each start of the guest connects anew, and
//! what an earlier start still owed is then answered with "gone".

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::probe::words::{Ask, Facts, Question, Said};
use ledger::{Micros, Operation};
use serde_json::Value;
use thiserror::Error;

/// Questions that are answered at once; an emulated guest on a busy desk is slow.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How often the two clocks are compared; the quickest answer tells best.
const CLOCK_SAMPLES: usize = 5;

#[derive(Debug, Error)]
pub enum ProbeError {
    #[error("can't listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("the probe in {node} is not there after {limit:?}; see its console")]
    Absent { node: String, limit: Duration },
    #[error("the probe in {node} did not answer {ask} within {limit:?}")]
    Silent { node: String, ask: String, limit: Duration },
    #[error("{node} went down before its probe answered {ask}")]
    Gone { node: String, ask: String },
    #[error("the probe in {node} can't do {ask}: {error}")]
    Refused { node: String, ask: String, error: String },
    #[error("the probe in {node} answered {ask} with {answer}")]
    Unclear { node: String, ask: String, answer: Value },
}

/// The way to one guest's probe, over all starts of the guest.
#[derive(Debug)]
pub struct Probe {
    node: String,
    shared: Arc<Shared>,
    path: PathBuf,
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stream: Option<UnixStream>,
    /// Counts connections: an answer of an earlier one is not waited for.
    generation: u64,
    /// The boot id that the probe said when it came, while it is there.
    boot_id: Option<String>,
    next_id: u64,
    answers: BTreeMap<u64, Result<Value, String>>,
    operations: Vec<Operation>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Probe {
    /// Listens for a guest's probe.
    pub fn listen(node: &str, path: &Path) -> Result<Self, ProbeError> {
        let fail = |source| ProbeError::Listen { path: path.to_owned(), source };
        let listener = Arc::new(UnixListener::bind(path).map_err(fail)?);
        let shared = Arc::<Shared>::default();
        let (of_thread, heard) = (Arc::clone(&shared), Arc::clone(&listener));
        let thread = Some(thread::spawn(move || accept(&heard, &of_thread)));
        Ok(Self { node: node.to_owned(), shared, path: path.to_owned(), listener, thread })
    }

    /// Where QEMU connects.
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// Waits until the probe is there; gives the boot id that it said.
    pub fn wait(&self, limit: Duration) -> Result<String, ProbeError> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            if let Some(boot_id) = &state.boot_id {
                return Ok(boot_id.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProbeError::Absent { node: self.node.clone(), limit });
            }
            state = self.shared.wait(state, left);
        }
    }

    /// Waits for the line to a guest that goes on from where it was saved: its probe said who it is
    /// when it came, and won't again.
    pub fn greet(&self, boot_id: &str, limit: Duration) -> Result<(), ProbeError> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        while state.stream.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProbeError::Absent { node: self.node.clone(), limit });
            }
            state = self.shared.wait(state, left);
        }
        state.boot_id = Some(boot_id.to_owned());
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, ask: Ask) -> Result<Value, ProbeError> {
        self.ask_for(ask, ANSWER_LIMIT)
    }

    /// The same, for something that takes its time.
    pub fn ask_for(&self, ask: Ask, limit: Duration) -> Result<Value, ProbeError> {
        let deadline = Instant::now() + limit;
        let what = name_of(&ask);
        let node = || self.node.clone();
        self.wait(limit)?;
        let mut state = self.shared.state();
        state.next_id += 1;
        let (id, generation) = (state.next_id, state.generation);
        let gone = || ProbeError::Gone { node: node(), ask: what.clone() };
        let mut line = serde_json::to_vec(&Question { id, ask }).unwrap_or_default();
        line.push(b'\n');
        let stream = state.stream.as_mut().ok_or_else(gone)?;
        stream.write_all(&line).map_err(|_| gone())?;
        loop {
            match state.answers.remove(&id) {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => {
                    return Err(ProbeError::Refused { node: node(), ask: what, error });
                }
                None if state.generation != generation => return Err(gone()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProbeError::Silent { node: node(), ask: what, limit });
            }
            state = self.shared.wait(state, left);
        }
    }

    /// What there is to know of the guest.
    pub fn facts(&self) -> Result<Facts, ProbeError> {
        let answer = self.ask(Ask::Facts)?;
        serde_json::from_value(answer.clone()).map_err(|_| self.unclear("facts", answer))
    }

    /// What the run's clock shows when the probe's shows zero, in microseconds.
    pub fn clock_offset(&self, origin: Instant) -> Result<i64, ProbeError> {
        let mut best: Option<(Duration, i64)> = None;
        for _ in 0..CLOCK_SAMPLES {
            let asked = origin.elapsed();
            let answer = self.ask(Ask::Clock)?;
            let took = origin.elapsed().saturating_sub(asked);
            let guest = answer.as_i64().ok_or_else(|| self.unclear("clock", answer))?;
            let middle = i64::try_from((asked + took / 2).as_micros()).unwrap_or(i64::MAX);
            if best.is_none_or(|(quickest, _)| took < quickest) {
                best = Some((took, middle.saturating_sub(guest)));
            }
        }
        Ok(best.map_or(0, |(_, offset)| offset))
    }

    fn unclear(&self, ask: &str, answer: Value) -> ProbeError {
        ProbeError::Unclear { node: self.node.clone(), ask: ask.to_owned(), answer }
    }

    /// Waits until something that clients did is to be seen; `offset` brings their times onto the
    /// run's clock. None when the time is over.
    pub fn wait_for<T>(
        &self,
        limit: Duration,
        offset: i64,
        look: impl Fn(&Operation) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        let mut seen = 0;
        loop {
            let new = state.operations.get(seen..).unwrap_or_default();
            let mut new = new.iter().map(|operation| moved(operation, offset));
            if let Some(found) = new.find_map(|operation| look(&operation)) {
                return Some(found);
            }
            seen = state.operations.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.shared.wait(state, left);
        }
    }

    /// Takes what clients did, with their times on the run's clock.
    pub fn take_operations(&self, offset: i64) -> Vec<Operation> {
        let operations = std::mem::take(&mut self.shared.state().operations);
        operations.iter().map(|operation| moved(operation, offset)).collect()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
        // Wakes the thread that accepts, so that hundreds of drills in one process don't use its files up.
        if rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ended = thread.join();
        }
        // Afterwards, or another start of the guest could still come in between.
        if let Some(stream) = self.shared.state().stream.take() {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

fn moved(operation: &Operation, offset: i64) -> Operation {
    let onto = |time: Micros| Micros(time.0.saturating_add_signed(offset));
    let (invoked, completed) = (onto(operation.invoked), onto(operation.completed));
    Operation { invoked, completed, ..operation.clone() }
}

/// A question's name, for messages; its arguments may hold keys.
fn name_of(ask: &Ask) -> String {
    let value = serde_json::to_value(ask).unwrap_or_default();
    value.get("what").and_then(Value::as_str).unwrap_or("a question").to_owned()
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let generation = {
            let mut state = shared.state();
            state.generation += 1;
            state.boot_id = None;
            state.stream = stream.try_clone().ok();
            state.generation
        };
        shared.changed.notify_all();
        let shared = Arc::clone(shared);
        thread::spawn(move || listen(stream, &shared, generation));
    }
}

/// Reads one start's words to their end.
fn listen(stream: UnixStream, shared: &Shared, generation: u64) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        // What a torn line meant to say is lost with the guest that tore it.
        let Ok(said) = serde_json::from_str::<Said>(&line) else { continue };
        let mut state = shared.state();
        if state.generation != generation {
            break;
        }
        match said {
            Said::Hello { boot_id, .. } => state.boot_id = Some(boot_id),
            Said::Answer { id, answer } => drop(state.answers.insert(id, Ok(answer))),
            Said::Refused { id, error } => drop(state.answers.insert(id, Err(error))),
            Said::Did { operation } => state.operations.push(operation),
        }
        drop(state);
        shared.changed.notify_all();
    }
    let mut state = shared.state();
    if state.generation == generation {
        state.generation += 1;
        state.boot_id = None;
        state.stream = None;
    }
    drop(state);
    shared.changed.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_is_not_needed_any_more_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let probe = Probe::listen("node1", &folder.path().join("probe")).unwrap();
        let guest = UnixStream::connect(probe.socket()).unwrap();
        while probe.shared.state().stream.is_none() {
            thread::yield_now();
        }
        let (shared, path) = (Arc::downgrade(&probe.shared), probe.socket().to_owned());
        drop(probe);
        assert!(UnixStream::connect(path).is_err(), "nobody listens");
        let mut ended = BufReader::new(guest);
        assert_eq!(ended.read_line(&mut String::new()).unwrap(), 0, "the guest is told");
        // Who reads from the guest is told by the same, and ends a moment later.
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
