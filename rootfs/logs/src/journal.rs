//! The journal: one ring per source, and what each may say.

use std::fmt::{self, Write};
use std::ops::Range;
use std::time::Duration;

use crate::allowance::{Allowance, KEEP_BURST, KEEP_RATE, LINE_COST, READ_BURST, READ_RATE};
use crate::harmless::Harmless;
use crate::ring::{Kind, Record, Ring};
use crate::splitter::{LINE_BYTES, Line, Splitter};

/// What all sources of a node said lately.
#[derive(Clone, Debug)]
pub struct Journal {
    sources: Vec<Source>,
    /// The number of the next record.
    next: u64,
    /// Where a remark is put together; its capacity never grows.
    scratch: Scratch,
}

/// What of a source was not kept since the journal was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Whole lines beyond what a source may say.
    pub lines: u64,
    /// The bytes of those lines.
    pub bytes: u64,
    /// Bytes behind the cut of lines that were too long.
    pub cut_bytes: u64,
}

#[derive(Clone, Debug)]
struct Source {
    name: String,
    splitter: Splitter,
    ring: Ring,
    keep: Allowance,
    read: Allowance,
    /// The last chunk took all that may be read.
    paused: bool,
    /// Lines are dropped until the allowance has recovered; none otherwise.
    dropping: bool,
    losses: Losses,
    /// What was lost before the drops that aren't said yet.
    said: Losses,
}

impl Journal {
    /// A journal of these sources; each ring keeps this many bytes of text. All memory is taken
    /// here, about twice that per source.
    pub fn new(names: &[&str], bytes_per_source: usize) -> Self {
        let source = |name: &&str| Source {
            name: (*name).to_owned(),
            splitter: Splitter::new(),
            ring: Ring::new(bytes_per_source.max(LINE_BYTES)),
            keep: Allowance::full(KEEP_RATE, KEEP_BURST),
            read: Allowance::full(READ_RATE, READ_BURST),
            paused: false,
            dropping: false,
            losses: Losses::default(),
            said: Losses::default(),
        };
        let sources = names.iter().map(source).collect();
        Self { sources, next: 1, scratch: Scratch(Vec::with_capacity(LINE_BYTES)) }
    }

    /// Takes what a source wrote, in any pieces; gives the numbers of the new records. A source
    /// that doesn't exist says nothing.
    pub fn push(&mut self, source: usize, now: Duration, bytes: &[u8]) -> Range<u64> {
        let first = self.next;
        if let Some(source) = self.sources.get_mut(source) {
            source.read.drain(now, bytes.len() as u64);
            source.paused = source.read.is_empty();
            let Source { splitter, ring, keep, dropping, losses, said, .. } = source;
            let mut keeper = Keeper { ring, keep, dropping, losses, said, next: &mut self.next };
            let scratch = &mut self.scratch;
            splitter.push(bytes, |line| keeper.take(now, line, scratch));
        }
        first..self.next
    }

    /// A source's stream has ended (its process is gone): what it wrote last is a line too.
    pub fn finish(&mut self, source: usize, now: Duration) -> Range<u64> {
        let first = self.next;
        if let Some(source) = self.sources.get_mut(source) {
            let Source { splitter, ring, keep, dropping, losses, said, .. } = source;
            let mut keeper = Keeper { ring, keep, dropping, losses, said, next: &mut self.next };
            let scratch = &mut self.scratch;
            splitter.finish(|line| keeper.take(now, line, scratch));
        }
        first..self.next
    }

    /// Adds a remark of the journal's keeper to a source, such as that its process has ended. It is
    /// always kept, so it is for what happens at a bounded rate.
    pub fn note(&mut self, source: usize, now: Duration, remark: fmt::Arguments<'_>) -> Range<u64> {
        let first = self.next;
        if let Some(source) = self.sources.get_mut(source) {
            let text = self.scratch.format(remark);
            source.ring.push(self.next, now, Kind::Note, text);
            self.next = self.next.saturating_add(1);
        }
        first..self.next
    }

    /// Says what was dropped, for sources that may speak again; call it at
    /// [`Journal::next_deadline`], since a source that went silent gives no other occasion.
    pub fn tick(&mut self, now: Duration) -> Range<u64> {
        let first = self.next;
        for source in &mut self.sources {
            let Source { ring, keep, dropping, losses, said, .. } = source;
            let mut keeper = Keeper { ring, keep, dropping, losses, said, next: &mut self.next };
            keeper.recover(now, &mut self.scratch);
        }
        first..self.next
    }

    /// When [`Journal::tick`] has something to say.
    pub fn next_deadline(&self) -> Option<Duration> {
        let dropping = self.sources.iter().filter(|source| source.dropping);
        dropping.map(|source| source.keep.recovered_at().unwrap_or_default()).min()
    }

    /// Until when a source's pipe is left alone, because it wrote more than anybody could read. Its
    /// writer waits meanwhile; that is the only case in which it does.
    pub fn paused_until(&self, source: usize, now: Duration) -> Option<Duration> {
        let source = self.sources.get(source).filter(|source| source.paused)?;
        source.read.recovered_at().filter(|until| *until > now)
    }

    /// The records with greater numbers, oldest first, of one source or of all. Zero gives
    /// everything that is in memory.
    pub fn since(&self, source: Option<usize>, seq: u64) -> Since<'_> {
        Since { journal: self, source, seq }
    }

    /// The number of the newest record; zero before the first.
    pub fn last_seq(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// What of a source was not kept.
    pub fn dropped(&self, source: usize) -> Losses {
        self.sources.get(source).map_or_else(Losses::default, |source| Losses {
            cut_bytes: source.splitter.cut_bytes(),
            ..source.losses
        })
    }

    /// A source's place by its name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.sources.iter().position(|source| source.name == name)
    }

    /// A source's name; empty for a source that doesn't exist.
    pub fn name(&self, source: usize) -> &str {
        self.sources.get(source).map_or("", |source| source.name.as_str())
    }

    /// A record as a line for people.
    pub fn show<'a>(&'a self, record: Record<'a>) -> Shown<'a> {
        Shown { name: self.name(record.source), record }
    }
}

/// The parts of a source that decide about one of its lines, beside the splitter that found it.
struct Keeper<'a> {
    ring: &'a mut Ring,
    keep: &'a mut Allowance,
    dropping: &'a mut bool,
    losses: &'a mut Losses,
    said: &'a mut Losses,
    next: &'a mut u64,
}

impl Keeper<'_> {
    fn take(&mut self, now: Duration, line: Line<'_>, scratch: &mut Scratch) {
        self.recover(now, scratch);
        let length = line.bytes.len() as u64;
        if *self.dropping || !self.keep.take(now, length.saturating_add(LINE_COST)) {
            *self.dropping = true;
            self.losses.lines = self.losses.lines.saturating_add(1);
            self.losses.bytes = self.losses.bytes.saturating_add(length);
            return;
        }
        let kind = if line.cut { Kind::Cut } else { Kind::Line };
        self.add(now, kind, line.bytes);
    }

    /// Ends the dropping once the allowance has recovered, and says what was dropped.
    fn recover(&mut self, now: Duration, scratch: &mut Scratch) {
        if !*self.dropping || !self.keep.has_recovered(now) {
            return;
        }
        *self.dropping = false;
        let lines = self.losses.lines.saturating_sub(self.said.lines);
        let bytes = self.losses.bytes.saturating_sub(self.said.bytes);
        *self.said = *self.losses;
        let rate = KEEP_RATE / 1024;
        let remark = format_args!(
            "{lines} lines of {bytes} bytes were dropped here: more than {rate} KiB per second"
        );
        self.add(now, Kind::Note, scratch.format(remark));
    }

    fn add(&mut self, now: Duration, kind: Kind, bytes: &[u8]) {
        self.ring.push(*self.next, now, kind, bytes);
        *self.next = self.next.saturating_add(1);
    }
}

/// A bounded place to put text together.
#[derive(Clone, Debug)]
struct Scratch(Vec<u8>);

impl Scratch {
    fn format(&mut self, text: fmt::Arguments<'_>) -> &[u8] {
        self.0.clear();
        // Text beyond the bound is left out; that is the only error there is.
        let _cut = self.write_fmt(text);
        &self.0
    }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.0.len().saturating_add(letter.len_utf8()) > LINE_BYTES {
                return Err(fmt::Error);
            }
            self.0.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }
}

/// Records in the order of their numbers; see [`Journal::since`].
#[derive(Clone, Debug)]
pub struct Since<'a> {
    journal: &'a Journal,
    source: Option<usize>,
    seq: u64,
}

impl<'a> Iterator for Since<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let journal = self.journal;
        let after = |place: usize| journal.sources.get(place)?.ring.after(place, self.seq);
        let found = match self.source {
            Some(place) => after(place),
            None => (0..journal.sources.len()).filter_map(after).min_by_key(|record| record.seq),
        }?;
        self.seq = found.seq;
        Some(found)
    }
}

/// A record as a line for people, safe for a terminal: time since boot, source, text.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    name: &'a str,
    record: Record<'a>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, record } = self;
        let (seconds, micros) = (record.time.as_secs(), record.time.subsec_micros());
        let text = Harmless(record.bytes);
        match record.kind {
            Kind::Line => write!(out, "[{seconds:5}.{micros:06}] {name}: {text}"),
            Kind::Cut => write!(out, "[{seconds:5}.{micros:06}] {name}: {text} (cut)"),
            Kind::Note => write!(out, "[{seconds:5}.{micros:06}] {name} -- {text}"),
        }
    }
}
