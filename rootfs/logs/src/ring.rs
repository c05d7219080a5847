//! The last lines of one source, in memory that was taken beforehand.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// The fewest bytes of text for which a ring has one entry; shorter lines fill its entries first.
const TEXT_PER_ENTRY: usize = 32;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line as the source wrote it.
    Line,
    /// The start of a line that was longer than [`LINE_BYTES`](crate::LINE_BYTES).
    Cut,
    /// A remark about the source by whoever keeps the journal.
    Note,
}

/// One line of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number over all sources; the first is 1, and no number is left out.
    pub seq: u64,
    /// Whose line it is: a place in the journal's names.
    pub source: usize,
    /// When it came, since boot.
    pub time: Duration,
    pub kind: Kind,
    /// What the source wrote; show it as [`Harmless`](crate::Harmless).
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    time: Duration,
    kind: Kind,
    /// Where its text starts, counted over all laps of the ring.
    start: u64,
    length: usize,
}

/// A ring of records. A record's text lies in one piece, so a gap may be left at the end of a lap.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    text: Box<[u8]>,
    entries: VecDeque<Entry>,
    entries_max: usize,
    /// Where the next text goes, counted over all laps.
    next: u64,
}

impl Ring {
    /// A ring for this many bytes of text; at least one.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.max(1);
        let entries_max = (bytes / TEXT_PER_ENTRY).max(1);
        let entries = VecDeque::with_capacity(entries_max);
        Self { text: vec![0; bytes].into_boxed_slice(), entries, entries_max, next: 0 }
    }

    /// Adds a record, and removes as many of the oldest as it takes the place of.
    pub(crate) fn push(&mut self, seq: u64, time: Duration, kind: Kind, bytes: &[u8]) {
        let length = bytes.len().min(self.text.len());
        let start = self.start_for(length);
        self.next = start.saturating_add(length as u64);
        if self.entries.len() >= self.entries_max {
            self.entries.pop_front();
        }
        // The new text reaches into the last lap up to here.
        let overwritten = self.next.saturating_sub(self.text.len() as u64);
        while self.entries.front().is_some_and(|entry| entry.start < overwritten) {
            self.entries.pop_front();
        }
        let place = self.place(start, length);
        if let (Some(place), Some(bytes)) = (self.text.get_mut(place), bytes.get(..length)) {
            place.copy_from_slice(bytes);
        }
        self.entries.push_back(Entry { seq, time, kind, start, length });
    }

    /// Where a text of this length starts: here, or with the next lap if it doesn't fit into this.
    fn start_for(&self, length: usize) -> u64 {
        let lap = self.text.len() as u64;
        let rest = lap - self.next % lap;
        if length as u64 <= rest { self.next } else { self.next.saturating_add(rest) }
    }

    fn place(&self, start: u64, length: usize) -> Range<usize> {
        let place = usize::try_from(start % self.text.len() as u64).unwrap_or(0);
        place..place.saturating_add(length)
    }

    /// The oldest record after this number.
    pub(crate) fn after(&self, source: usize, seq: u64) -> Option<Record<'_>> {
        let index = self.entries.partition_point(|entry| entry.seq <= seq);
        let entry = self.entries.get(index)?;
        let bytes = self.text.get(self.place(entry.start, entry.length))?;
        Some(Record { seq: entry.seq, source, time: entry.time, kind: entry.kind, bytes })
    }
}
