//! The console of a guest: every line with the time at which it came, and waiting for one of them.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What no healthy run ever says.
const TROUBLE: [&str; 9] = [
    "Kernel panic",
    "Oops:",
    "BUG:",
    "general protection fault",
    "soft lockup",
    "I/O error",
    "EXT4-fs error",
    "Out of memory",
    "stage 2 failed",
];

/// One line, and when it came, counted from the guest's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub after: Duration,
    pub text: String,
}

/// A console that is being read.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Reads from `source` until it ends.
    pub fn new(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let started = Instant::now();
        let of_reader = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut bytes = Vec::new();
            while source.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                of_reader.state().lines.push(Line { after: started.elapsed(), text });
                of_reader.changed.notify_all();
                bytes.clear();
            }
            of_reader.state().ended = true;
            of_reader.changed.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    /// Waits for a line that contains `part`; none when the console ends or the time is over.
    pub fn wait_for(&self, part: &str, limit: Duration) -> Option<Line> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            if let Some(line) = state.lines.iter().find(|line| line.text.contains(part)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
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
        let bad = |line: &Line| TROUBLE.iter().any(|sign| line.text.contains(sign));
        self.lines().into_iter().filter(bad).collect()
    }

    /// Waits until the source has ended and everything was read.
    pub fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
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
        let mut console = Console::new(&b"one\r\ntwo\nKernel panic - not syncing\nlast"[..]);
        console.join();
        let long = Duration::from_secs(5);
        assert_eq!(console.wait_for("two", long).expect("said").text, "two");
        assert_eq!(console.wait_for("three", long), None, "the end is noticed at once");
        assert_eq!(console.trouble().len(), 1);
        assert_eq!(console.lines().len(), 4);
    }
}
