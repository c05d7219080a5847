//! Lines on standard error, without ever waiting for whoever reads them.
//!
//! A full pipe must not hold up an advert. So a pipe is opened anew without blocking, and what does
//! not fit is counted and said later.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{dup, write};
use rustix::stdio::stderr;

/// How long a repeated complaint stays silent.
const QUIET: Duration = Duration::from_secs(10);
/// More kinds of complaint than there are; what comes beyond is not said.
const COMPLAINTS_MAX: usize = 1024;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Log {
    descriptor: Option<OwnedFd>,
    lost: u64,
    complaints: BTreeMap<(usize, &'static str), (Duration, u64)>,
}

impl Log {
    pub(super) fn new() -> Self {
        let pipe = fstat(stderr())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let own = if pipe { open("/proc/self/fd/2", flags, Mode::empty()) } else { dup(stderr()) };
        Self { descriptor: own.ok(), lost: 0, complaints: BTreeMap::new() }
    }

    pub(super) fn line(&mut self, text: impl Display) {
        let Some(descriptor) = &self.descriptor else { return };
        if self.lost > 0 {
            let note = format!("vipd: {} lines were lost: nobody read them\n", self.lost);
            if write(descriptor, note.as_bytes()).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        // One call for the whole line, so that lines of several programs don't mix.
        if write(descriptor, format!("vipd: {text}\n").as_bytes()).is_err() {
            self.lost += 1;
        }
    }

    /// Says something that may happen a thousand times a second: the first at once, then a summary.
    pub(super) fn complain(
        &mut self,
        now: Duration,
        about: usize,
        kind: &'static str,
        text: impl Display,
    ) {
        let known = self.complaints.len();
        match self.complaints.get_mut(&(about, kind)) {
            Some((said_at, unsaid)) if now < said_at.saturating_add(QUIET) => *unsaid += 1,
            Some((said_at, unsaid)) => {
                *said_at = now;
                let more = std::mem::take(unsaid);
                let more = if more == 0 { String::new() } else { format!(" ({more} more since)") };
                self.line(format_args!("{text}{more}"));
            }
            None if known >= COMPLAINTS_MAX => {}
            None => {
                self.complaints.insert((about, kind), (now, 0));
                self.line(text);
            }
        }
    }
}
