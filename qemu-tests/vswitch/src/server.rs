//! The switch with sockets: one thread, one poll loop, and a handle to turn faults on and off.
//!
//! The thread ends with its [`Server`], and takes its sockets along.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use thiserror::Error;

use crate::pcapng::Capture;
use crate::port::PortSocket;
use crate::rule::{Port, Rule, RuleId};
use crate::switch::{Delivery, Switch};
use crate::wire::Wire;

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("can't listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("can't write the capture {}: {source}", path.display())]
    Capture { path: PathBuf, source: io::Error },
    #[error("can't start the switch's thread: {0}")]
    Thread(io::Error),
}

/// What a switch is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the sockets go, one for each port by its name. Paths of sockets are short: about 100
    /// bytes in all.
    pub folder: PathBuf,
    pub ports: Vec<String>,
    pub seed: u64,
    /// Where to write what went over the wires.
    pub capture: Option<PathBuf>,
    /// The run's beginning: all times count from there.
    pub origin: Instant,
}

/// A running switch.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    sockets: Vec<PathBuf>,
    origin: Instant,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was claimed on the wire.
    claimed: Condvar,
    wake: OwnedFd,
}

#[derive(Debug)]
struct State {
    switch: Switch,
    wire: Wire,
    capture: Option<Capture<BufWriter<File>>>,
    /// Why the capture ended before the run.
    capture_error: Option<io::Error>,
    /// What a removed rule let go, until the thread sends it.
    freed: Vec<Delivery>,
    stopping: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // A full counter wakes as well.
        let _woken = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Server {
    /// Makes the sockets and starts the thread.
    pub fn start(plan: &Plan) -> Result<Self, ServerError> {
        let path_of = |name: &String| plan.folder.join(format!("{name}.net"));
        let sockets: Vec<PathBuf> = plan.ports.iter().map(path_of).collect();
        let mut ports = Vec::new();
        for path in &sockets {
            let port = PortSocket::bind(path)
                .map_err(|source| ServerError::Listen { path: path.clone(), source })?;
            ports.push(port);
        }
        let capture = plan.capture.as_deref().map(|path| begin(path, &plan.ports)).transpose()?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| ServerError::Thread(errno.into()))?;
        let state = State {
            switch: Switch::new(ports.len(), plan.seed),
            wire: Wire::default(),
            capture,
            capture_error: None,
            freed: Vec::new(),
            stopping: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), claimed: Condvar::new(), wake });
        let (of_thread, origin) = (Arc::clone(&shared), plan.origin);
        let thread = thread::Builder::new()
            .name("vswitch".to_owned())
            .spawn(move || serve(&of_thread, &mut ports, origin))
            .map_err(ServerError::Thread)?;
        Ok(Self { shared, sockets, origin, thread: Some(thread) })
    }

    /// The socket of a port, for QEMU's `-netdev stream,server=off,addr.type=unix,addr.path=…`.
    pub fn socket(&self, port: Port) -> Option<&Path> {
        self.sockets.get(port.0).map(PathBuf::as_path)
    }

    /// The time since the run's beginning.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Turns a fault on.
    pub fn add(&self, rule: Rule) -> RuleId {
        self.shared.state().switch.add(rule)
    }

    /// Turns a fault off, and says how many frames it had taken.
    pub fn remove(&self, id: RuleId) -> u64 {
        let mut state = self.shared.state();
        let taken = state.switch.taken(id).unwrap_or(0);
        let mut freed = Vec::new();
        state.switch.remove(id, &mut freed);
        state.freed.append(&mut freed);
        drop(state);
        self.shared.wake();
        taken
    }

    /// How many frames a fault has taken so far: one that took none never bit.
    pub fn taken(&self, id: RuleId) -> u64 {
        self.shared.state().switch.taken(id).unwrap_or(0)
    }

    /// Makes a port silent in both directions, or lets it speak again; the guest keeps its carrier.
    pub fn connect(&self, port: Port, connected: bool) {
        self.shared.state().switch.connect(port, connected);
    }

    /// How many frames a silent port has lost so far, in both directions.
    pub fn swallowed(&self, port: Port) -> u64 {
        self.shared.state().switch.swallowed(port)
    }

    /// Looks at what was claimed on the wire so far.
    pub fn with_wire<T>(&self, look: impl FnOnce(&Wire) -> T) -> T {
        look(&self.shared.state().wire)
    }

    /// Waits until something is to be seen on the wire; none when the time is over.
    pub fn wait_for<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&Wire) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            if let Some(found) = look(&state.wire) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.claimed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the switch; an error is about the capture, which then lacks its end.
    pub fn stop(mut self) -> io::Result<()> {
        self.end();
        let mut state = self.shared.state();
        if let Some(error) = state.capture_error.take() {
            return Err(error);
        }
        state.capture.as_mut().map_or(Ok(()), Capture::flush)
    }

    fn end(&mut self) {
        self.shared.state().stopping = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on standard error.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn begin(path: &Path, names: &[String]) -> Result<Capture<BufWriter<File>>, ServerError> {
    File::create(path)
        .and_then(|file| Capture::new(BufWriter::new(file), names))
        .map_err(|source| ServerError::Capture { path: path.to_owned(), source })
}

/// The thread: waits, moves frames, until it is told to stop.
fn serve(shared: &Shared, ports: &mut [PortSocket], origin: Instant) {
    let mut deliveries = Vec::new();
    loop {
        let (stopping, due) = {
            let mut state = shared.state();
            deliveries.append(&mut state.freed);
            state.switch.release_due(origin.elapsed(), &mut deliveries);
            (state.stopping, state.switch.next_due())
        };
        for delivery in deliveries.drain(..) {
            if let Some(port) = ports.get_mut(delivery.to.0) {
                port.queue(&delivery.frame);
            }
        }
        ports.iter_mut().for_each(PortSocket::flush);
        if stopping {
            return;
        }
        let ready = wait(shared, ports, due.map(|due| due.saturating_sub(origin.elapsed())));
        for (number, ready) in ready.into_iter().enumerate() {
            if let Some(port) = ports.get_mut(number).filter(|_| ready) {
                port.accept();
                take_in(shared, port, Port(number), origin, &mut deliveries);
            }
        }
    }
}

/// Waits until a port or the handle has something; says which ports.
fn wait(shared: &Shared, ports: &[PortSocket], limit: Option<Duration>) -> Vec<bool> {
    let mut inputs = vec![PollFd::from_borrowed_fd(shared.wake.as_fd(), PollFlags::IN)];
    let mut owners = vec![None];
    for (number, port) in ports.iter().enumerate() {
        inputs.push(PollFd::from_borrowed_fd(port.listener.as_fd(), PollFlags::IN));
        owners.push(Some(number));
        if let Some(peer) = &port.peer {
            let flags =
                if port.is_behind() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            inputs.push(PollFd::from_borrowed_fd(peer.stream.as_fd(), flags));
            owners.push(Some(number));
        }
    }
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut ready = vec![false; ports.len()];
    if poll(&mut inputs, limit.as_ref()).is_ok() {
        for (input, owner) in inputs.iter().zip(owners) {
            if let Some(flag) = owner.and_then(|number: usize| ready.get_mut(number))
                && !input.revents().is_empty()
            {
                *flag = true;
            }
        }
    }
    let mut counter = [0; 8];
    // Not woken by the handle: then there is nothing to read.
    let _count = rustix::io::read(&shared.wake, &mut counter);
    ready
}

fn take_in(
    shared: &Shared,
    socket: &mut PortSocket,
    port: Port,
    origin: Instant,
    deliveries: &mut Vec<Delivery>,
) {
    let mut state = shared.state();
    let mut claims = false;
    socket.read(|frame| {
        let now = origin.elapsed();
        let outcome = state.switch.take(now, port, frame, deliveries);
        if let Some(header) = &outcome.header {
            claims |= state.wire.note(now, port, header);
        }
        state.capture(now, port, frame, &outcome.faults);
    });
    drop(state);
    if claims {
        shared.claimed.notify_all();
    }
}

impl State {
    /// A capture that can't be written any more ends, and the run goes on.
    fn capture(&mut self, at: Duration, port: Port, frame: &[u8], faults: &[crate::switch::Fault]) {
        if let Some(capture) = &mut self.capture
            && let Err(error) = capture.frame(at, port, frame, faults)
        {
            self.capture = None;
            self.capture_error = Some(error);
        }
    }
}
