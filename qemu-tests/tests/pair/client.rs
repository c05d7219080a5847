//! A client that writes numbers through whichever gate lets it in, and keeps the ledger of what was
//! acknowledged.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::site::Site;
use crate::support::until;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two writes.
const EVERY: Duration = Duration::from_millis(5);
/// A node that stands still keeps a client waiting for ever; this one goes to the other.
const PATIENCE: Duration = Duration::from_millis(1500);

type Ledger = Arc<Mutex<Vec<(u64, Instant)>>>;

/// The client, in a thread of its own.
pub(crate) struct Writer {
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How `psql` is started.
type Call = (OsString, Vec<OsString>);

impl Writer {
    /// Makes the ledger's table, and writes from then on.
    pub(crate) fn start(site: &Site) -> Self {
        let mut first = site.psql(&site.conninfo(&[0, 1]));
        let made = first.args(["-c", "create table ledger (number bigint primary key)"]).output();
        let made = made.expect("psql");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let calls = [0, 1].map(|node| {
            let psql = site.psql(&site.conninfo(&[node]));
            let words = psql.get_args().map(ToOwned::to_owned).collect();
            (psql.get_program().to_owned(), words)
        });
        let (ledger, stop) = (Ledger::default(), Arc::new(AtomicBool::new(false)));
        let (own, told) = (ledger.clone(), stop.clone());
        let thread = Some(std::thread::spawn(move || write_all(&calls, &own, &told)));
        Self { ledger, stop, thread }
    }

    fn count(&self) -> usize {
        self.ledger.lock().expect("whole").len()
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) fn await_more(&self, count: usize) {
        let wanted = self.count() + count;
        until("writes are acknowledged", || self.count() >= wanted);
    }

    /// Does something to the leader; how long after the last acknowledgement before it the next one
    /// came by another.
    pub(crate) fn gap_of(&self, work: impl FnOnce()) -> Duration {
        let begin = Instant::now();
        work();
        let done = Instant::now();
        until("the next write is acknowledged", || {
            self.ledger.lock().expect("whole").last().is_some_and(|(_, at)| *at > done)
        });
        let ledger = self.ledger.lock().expect("whole");
        let times: Vec<Instant> = ledger.iter().map(|(_, at)| *at).collect();
        let around = times.windows(2).filter(|pair| pair[1] >= begin);
        around.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Ends the writing; everything that was acknowledged.
    pub(crate) fn end(mut self) -> BTreeSet<u64> {
        self.halt();
        self.ledger.lock().expect("whole").iter().map(|(number, _)| *number).collect()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Writes on one connection after the other, to the nodes by turns. A number whose acknowledgement
/// never came is not written again: it may be there.
fn write_all(calls: &[Call; 2], ledger: &Ledger, stop: &AtomicBool) {
    let mut number = 0;
    for (program, words) in calls.iter().cycle() {
        let mut session = Session::start(Command::new(program).args(words));
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            number += 1;
            if session.insert(number) != Some(number) {
                break;
            }
            ledger.lock().expect("whole").push((number, Instant::now()));
            std::thread::sleep(EVERY);
        }
        drop(session);
        std::thread::sleep(PAUSE);
    }
}

struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(psql: &mut Command) -> Self {
        let psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = psql.spawn().expect("psql");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output }
    }

    /// Inserts a number; what comes back in time is acknowledged.
    fn insert(&mut self, number: u64) -> Option<u64> {
        writeln!(self.input, "insert into ledger values ({number}) returning number;").ok()?;
        let patience = Timespec::try_from(PATIENCE).ok()?;
        let mut answers = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
        if poll(&mut answers, Some(&patience)).ok()? == 0 {
            return None;
        }
        let mut line = String::new();
        self.output.read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}
