//! The disk with its socket: QEMU connects, the drill holds the handle.
//!
//! One thread waits for clients, one serves the client that is there; a guest has one disk and QEMU
//! one connection. The disk outlives its clients, as a real one outlives a reset.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use thiserror::Error;

use crate::protocol::{self, Answer, Command, Request};
use crate::store::{Counts, Cut, Fault, SECTOR, Store};

/// Zeros are written in pieces of this size; a guest clears whole gigabytes in one request.
const ZEROES_AT_ONCE: usize = 1 << 20;

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("can't listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("can't start the disk's thread: {0}")]
    Thread(io::Error),
}

/// A disk that QEMU can connect to, as long as this lives.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    path: PathBuf,
    /// The listening socket once more: shutting it down ends the thread's wait, also when its file
    /// was removed meanwhile.
    listening: UnixStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    store: Store,
    stalled: bool,
    stopping: bool,
    client: Option<UnixStream>,
    /// A client's requests are no longer answered once another cable was plugged in.
    generation: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Offers a disk at a socket; its path must be short, about 100 bytes.
    pub fn start(path: &Path, store: Store) -> Result<Self, ServerError> {
        let listen = || {
            let listener = UnixListener::bind(path)?;
            let again = UnixStream::from(OwnedFd::from(listener.try_clone()?));
            Ok((listener, again))
        };
        let (listener, listening) =
            listen().map_err(|source| ServerError::Listen { path: path.to_owned(), source })?;
        let state = State { store, stalled: false, stopping: false, client: None, generation: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("vdisk".to_owned())
            .spawn(move || accept(&listener, &of_thread))
            .map_err(ServerError::Thread)?;
        Ok(Self { shared, path: path.to_owned(), listening, thread: Some(thread) })
    }

    /// Where QEMU finds it.
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// Cuts the power: the client is disconnected, then what was not flushed is lost. QEMU must be
    /// dead by then, or it would say that its disk failed. Says how many sectors were lost.
    pub fn power_cut(&self, cut: Cut) -> Result<u64, Fault> {
        self.disconnect();
        let mut state = self.shared.state();
        let before = state.store.counts().lost_sectors;
        state.store.cut(cut)?;
        Ok(state.store.counts().lost_sectors - before)
    }

    /// Ends the connection of the client that is there.
    pub fn disconnect(&self) {
        let mut state = self.shared.state();
        state.generation += 1;
        if let Some(client) = state.client.take() {
            // One that is gone already needs no shutdown.
            let _gone = client.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Makes the disk answer nothing, or lets it answer again.
    pub fn stall(&self, stalled: bool) {
        self.shared.state().stalled = stalled;
        self.shared.changed.notify_all();
    }

    /// Looks at the disk or changes its faults.
    pub fn with_store<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.shared.state().store)
    }

    pub fn counts(&self) -> Counts {
        self.shared.state().store.counts()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.disconnect();
        // One that was shut down already has ended its thread's wait as well.
        let _ended = self.listening.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        // The socket was shut down, or this process has no room for another descriptor.
        let Ok(client) = client else { return };
        let generation = {
            let mut state = shared.state();
            if state.stopping {
                return;
            }
            state.generation += 1;
            state.client = client.try_clone().ok();
            state.generation
        };
        let shared = Arc::clone(shared);
        // A client that goes away, or talks nonsense, ends its own thread and nothing else.
        let _served = thread::spawn(move || serve(client, &shared, generation));
    }
}

fn serve(mut client: UnixStream, shared: &Shared, generation: u64) -> io::Result<()> {
    let bytes = shared.state().store.bytes();
    if !protocol::shake_hands(&mut client, bytes)? {
        return Ok(());
    }
    let mut data = Vec::new();
    loop {
        let request = protocol::read_request(&mut client)?;
        data.clear();
        match request.command {
            Command::Disconnect => return Ok(()),
            Command::Write => {
                data.resize(usize::try_from(request.length).map_err(io::Error::other)?, 0);
                io::Read::read_exact(&mut client, &mut data)?;
            }
            Command::Read => {
                data.resize(usize::try_from(request.length).map_err(io::Error::other)?, 0);
            }
            Command::Flush | Command::Trim | Command::WriteZeroes => {}
        }
        let Some(mut state) = wait_for_turn(shared, generation) else { return Ok(()) };
        let result = perform(&mut state.store, &request, &mut data);
        drop(state);
        let answer = match result {
            Ok(()) => Answer::Done,
            Err(Fault::InputOutput) => Answer::InputOutput,
            Err(Fault::Invalid) => Answer::Invalid,
            Err(Fault::NoSpace) => Answer::NoSpace,
        };
        let gives = request.command == Command::Read && answer == Answer::Done;
        protocol::answer(&mut client, &request, answer, if gives { &data } else { &[] })?;
    }
}

/// A stalled disk does nothing until it goes on; one that was cut never answers the old client.
fn wait_for_turn(shared: &Shared, generation: u64) -> Option<MutexGuard<'_, State>> {
    let mut state = shared.state();
    while state.stalled && state.generation == generation {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    (state.generation == generation).then_some(state)
}

fn perform(store: &mut Store, request: &Request, data: &mut [u8]) -> Result<(), Fault> {
    match request.command {
        Command::Read => store.read(request.offset, data)?,
        Command::Write => store.write(request.offset, data)?,
        Command::WriteZeroes => write_zeroes(store, request.offset, request.length.into())?,
        // What is trimmed may keep its content; a real disk promises nothing either.
        Command::Trim | Command::Disconnect => {}
        Command::Flush => store.flush()?,
    }
    if request.durable && matches!(request.command, Command::Write | Command::WriteZeroes) {
        store.flush()?;
    }
    Ok(())
}

fn write_zeroes(store: &mut Store, mut offset: u64, mut length: u64) -> Result<(), Fault> {
    if !length.is_multiple_of(SECTOR) {
        return Err(Fault::Invalid);
    }
    let zeroes = vec![0; ZEROES_AT_ONCE];
    while length > 0 {
        let piece = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROES_AT_ONCE);
        store.write(offset, zeroes.get(..piece).unwrap_or_default())?;
        let piece = u64::try_from(piece).unwrap_or(0);
        offset += piece;
        length -= piece;
    }
    Ok(())
}
