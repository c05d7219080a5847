//! The loop's lines on standard error, written without ever waiting for whoever reads them.
//!
//! A full pipe must not hold up a heartbeat. So a pipe is opened anew without blocking, and what
//! doesn't fit is counted and said later.

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{dup, write};
use rustix::stdio::stderr;

/// How long the same complaint stays silent.
const QUIET: Duration = Duration::from_secs(10);

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    descriptor: Option<OwnedFd>,
    lost: u64,
    /// The last complaint, when it was said, and how often it was not.
    complaint: Option<(String, Duration, u64)>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let pipe = fstat(stderr())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let own = if pipe { open("/proc/self/fd/2", flags, Mode::empty()) } else { dup(stderr()) };
        Self { descriptor: own.ok(), lost: 0, complaint: None }
    }

    pub(crate) fn line(&mut self, text: impl Display) {
        let Some(descriptor) = &self.descriptor else { return };
        if self.lost > 0 {
            let note = format!("{} lines were lost: nobody read them\n", self.lost);
            if write(descriptor, note.as_bytes()).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        // One call for the whole line, so that those of several threads don't mix.
        if write(descriptor, format!("{text}\n").as_bytes()).is_err() {
            self.lost += 1;
        }
    }

    /// Says something that may happen with every heartbeat: at once, then now and then.
    pub(crate) fn complain(&mut self, now: Duration, text: impl Display) {
        let text = text.to_string();
        match &mut self.complaint {
            Some((last, at, unsaid)) if *last == text && now < at.saturating_add(QUIET) => {
                *unsaid += 1;
                return;
            }
            _ => {}
        }
        let unsaid = self.complaint.take().filter(|(last, ..)| *last == text);
        let more = match unsaid {
            Some((_, _, more @ 1..)) => format!(" ({more} more since)"),
            _ => String::new(),
        };
        self.line(format_args!("{text}{more}"));
        self.complaint = Some((text, now, 0));
    }
}
