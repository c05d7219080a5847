//! The console of a guest: every line with the time at which it came, and waiting for one of them.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ledger::check::console;

/// What a kernel says of a processor or a process that seems to hang. A guest that gets no time from
/// a busy desk says the same.
const STARVED: [&str; 5] = [
    "soft lockup",
    "workqueue lockup",
    "self-detected stall",
    "detected stalls on CPUs",
    "blocked for more than",
];

/// One line, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since the console's beginning, which is the guest's start unless it was given another.
    pub after: Duration,
    pub text: String,
}

/// A console, which may be read from one start of the guest to the next.
#[derive(Clone, Debug)]
pub struct Console {
    shared: Arc<Shared>,
    origin: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// Sources that have not ended.
    open: usize,
    readers: Vec<JoinHandle<()>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Reads from `source` until it ends; times count from now.
    pub fn new(source: impl Read + Send + 'static) -> Self {
        let console = Self::since(Instant::now());
        console.read(source);
        console
    }

    /// A console without a source yet, whose times count from a beginning that others share.
    pub fn since(origin: Instant) -> Self {
        Self { shared: Arc::default(), origin }
    }

    /// Reads from another source as well, until it ends.
    pub fn read(&self, source: impl Read + Send + 'static) {
        self.shared.state().open += 1;
        let (of_reader, origin) = (Arc::clone(&self.shared), self.origin);
        let reader = thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut bytes = Vec::new();
            while source.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                of_reader.state().lines.push(Line { after: origin.elapsed(), text });
                of_reader.changed.notify_all();
                bytes.clear();
            }
            of_reader.state().open -= 1;
            of_reader.changed.notify_all();
        });
        self.shared.state().readers.push(reader);
    }

    /// Adds what a guest said before it was saved, as if it had been said at the beginning.
    pub fn remember(&self, lines: impl IntoIterator<Item = String>) {
        let lines = lines.into_iter().map(|text| Line { after: Duration::ZERO, text });
        self.shared.state().lines.extend(lines);
    }

    /// Waits for a line that contains `part`; none when the console ends or the time is over.
    pub fn wait_for(&self, part: &str, limit: Duration) -> Option<Line> {
        self.wait_since(Duration::ZERO, part, limit)
    }

    /// The same, for a line that contains any of these.
    pub fn wait_for_any(&self, parts: &[&str], limit: Duration) -> Option<Line> {
        self.wait_until(limit, |line| parts.iter().any(|part| line.text.contains(part)))
    }

    /// The same, for a line that came at a time or later.
    pub fn wait_since(&self, time: Duration, part: &str, limit: Duration) -> Option<Line> {
        self.wait_until(limit, |line| line.after >= time && line.text.contains(part))
    }

    fn wait_until(&self, limit: Duration, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            if let Some(line) = state.lines.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything that was said so far.
    pub fn lines(&self) -> Vec<Line> {
        self.shared.state().lines.clone()
    }

    /// Everything as one text, for the message of a failed test.
    pub fn transcript(&self) -> String {
        let line = |line: &Line| format!("[{:8.3}] {}\n", line.after.as_secs_f64(), line.text);
        self.lines().iter().map(line).collect()
    }

    /// Lines that tell of trouble.
    pub fn trouble(&self) -> Vec<Line> {
        let bad = |line: &Line| console::trouble(&line.text).is_some();
        self.lines().into_iter().filter(bad).collect()
    }

    /// The same without what only tells that the desk gave the guest too little time.
    pub fn damage(&self) -> Vec<Line> {
        let starved = |line: &Line| STARVED.iter().any(|sign| line.text.contains(sign));
        self.trouble().into_iter().filter(|line| !starved(line)).collect()
    }

    /// Waits until every source has ended and everything was read.
    pub fn join(&self) {
        let readers = std::mem::take(&mut self.shared.state().readers);
        for reader in readers {
            // A reader that panicked has told the test's output already.
            let _panicked = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_found_and_trouble_is_seen() {
        let console = Console::new(&b"one\r\ntwo\nKernel panic - not syncing\nlast"[..]);
        console.join();
        let long = Duration::from_secs(5);
        assert_eq!(console.wait_for("two", long).expect("said").text, "two");
        assert_eq!(console.wait_for("three", long), None, "the end is noticed at once");
        assert_eq!(console.wait_for_any(&["three", "two"], long).expect("said").text, "two");
        assert_eq!(console.trouble().len(), 1);
        assert_eq!(console.lines().len(), 4);
    }

    #[test]
    fn a_starved_guest_is_in_trouble_and_not_damaged() {
        let said = b"watchdog: BUG: soft lockup - CPU#0 stuck for 26s!\nEXT4-fs error (vda5)\n";
        let console = Console::new(&said[..]);
        console.join();
        assert_eq!(console.trouble().len(), 2);
        assert_eq!(console.damage(), console.lines()[1..]);
    }

    #[test]
    fn a_second_start_goes_on_in_the_same_console() {
        let console = Console::since(Instant::now());
        console.read(&b"ready\n"[..]);
        console.join();
        let between = console.origin.elapsed();
        console.read(&b"ready\n"[..]);
        console.join();
        let second = console.wait_since(between, "ready", Duration::from_secs(5)).expect("said");
        assert_eq!(console.lines()[1], second);
        let never = console.wait_since(console.origin.elapsed(), "ready", Duration::from_secs(5));
        assert_eq!(never, None);
    }
}
