//! Reads the journal for one client, from where it is to where it wants to be.

use std::time::Duration;

use ::control::{Answer, LogLine, Logs};
use logs::{Harmless, Journal, Kind, Record};

use crate::services::OURSELVES;

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are more lines than room.
    Full,
    /// Up to the last line that there is.
    CaughtUp,
    /// Up to the last line that was wanted.
    Ended,
}

/// A place in the journal, and what is wanted from there on.
#[derive(Debug)]
pub(super) struct LogReader {
    source: Option<usize>,
    /// The last line that the client has, or knows to have missed.
    seen: u64,
    /// Whether `seen` is a number that the client counts from, so that a hole after it is told.
    counts: bool,
    /// Whether to go on after what there is.
    follow: bool,
    /// Lines that may still be given to who doesn't follow.
    left: u64,
    /// The last line that there was when it was asked.
    until: u64,
}

impl LogReader {
    /// None if the service isn't in the journal.
    pub(super) fn new(logs: &Logs, journal: &Journal) -> Option<Self> {
        let source = match &logs.service {
            None => None,
            Some(name) => Some(journal.find(name.as_str())?),
        };
        let lines = u64::from(logs.lines);
        let last = journal.last_seq();
        let seen = match (logs.from_seq, source) {
            (Some(from), _) => from.saturating_sub(1),
            // Numbers of all sources have no holes, so the last lines needn't be looked for.
            (None, None) => last.saturating_sub(lines),
            (None, Some(_)) => {
                let count = journal.since(source, 0).count();
                let skipped = count.saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
                let before = skipped.checked_sub(1);
                let found = before.and_then(|at| journal.since(source, 0).nth(at));
                found.map_or(0, |record| record.seq)
            }
        };
        let counts = logs.from_seq.is_some() && source.is_none();
        Some(Self { source, seen, counts, follow: logs.follow, left: lines, until: last })
    }

    /// Adds lines until `room` bytes wait.
    pub(super) fn fill(
        &mut self,
        journal: &Journal,
        now: Duration,
        unix_ms: u64,
        waiting: &mut Vec<u8>,
        room: usize,
    ) -> Filled {
        for record in journal.since(self.source, self.seen) {
            if !self.follow && (self.left == 0 || record.seq > self.until) {
                break;
            }
            if waiting.len() >= room {
                return Filled::Full;
            }
            let missed = record.seq.saturating_sub(self.seen).saturating_sub(1);
            if self.counts && missed > 0 {
                waiting.extend_from_slice(&Answer::Missed { lines: missed }.to_line());
            }
            let line = log_line(journal, &record, now, unix_ms);
            waiting.extend_from_slice(&Answer::Log(line).to_line());
            self.seen = record.seq;
            self.counts = self.source.is_none();
            self.left = self.left.saturating_sub(1);
        }
        if self.follow {
            return Filled::CaughtUp;
        }
        waiting.extend_from_slice(&Answer::End.to_line());
        Filled::Ended
    }
}

/// A record in the words of the socket. Its time since boot becomes a time of day by the clock of
/// this moment, which is better than any that it had then.
fn log_line(journal: &Journal, record: &Record<'_>, now: Duration, unix_ms: u64) -> LogLine {
    let text = match record.kind {
        Kind::Line => Harmless(record.bytes).to_string(),
        Kind::Cut => format!("{} (cut)", Harmless(record.bytes)),
        Kind::Note => format!("-- {}", Harmless(record.bytes)),
    };
    let ago = u64::try_from(now.saturating_sub(record.time).as_millis()).unwrap_or(u64::MAX);
    // Lines of PID 1 itself belong to no service.
    let name = Some(journal.name(record.source)).filter(|name| *name != OURSELVES);
    let service = name.and_then(|name| name.parse().ok());
    LogLine::new(record.seq, unix_ms.saturating_sub(ago), service, text.as_bytes())
}
