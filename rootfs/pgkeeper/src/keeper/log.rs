//! Lines on standard error, written without ever waiting for whoever reads them.
//!
//! A full pipe must hold up neither a heartbeat nor what PostgreSQL's driver does. So a pipe is
//! opened anew without blocking, and what doesn't fit is counted and said later.

use std::fmt::Display;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{dup, write};
use rustix::pipe::PIPE_BUF;
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
        Self::on(stderr())
    }

    fn on(output: BorrowedFd<'_>) -> Self {
        let pipe =
            fstat(output).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let own = if pipe {
            open(format!("/proc/self/fd/{}", output.as_raw_fd()), flags, Mode::empty())
        } else {
            dup(output)
        };
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
        // One call for the whole line, so that those of several threads don't mix; a longer one could
        // be written in part.
        let mut line = text.to_string().into_bytes();
        line.truncate(PIPE_BUF - 1);
        line.push(b'\n');
        if write(descriptor, &line).is_err() {
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_full_pipe_holds_up_nobody_and_what_was_lost_is_counted() {
        let (output, input) = std::io::pipe().expect("a pipe");
        let mut log = Log::on(input.as_fd());
        // Lines that fill pages, so that no note fits behind the last.
        let line = "x".repeat(1023);
        while log.lost < 3 {
            log.line(&line);
        }
        let mut lines = BufReader::new(output).lines();
        for _ in 0..16 {
            assert_eq!(lines.next().expect("a line").expect("read"), line);
        }
        log.line("at last");
        drop((log, input));
        let rest: Vec<String> = lines.map(|line| line.expect("read")).collect();
        let told = ["3 lines were lost: nobody read them", "at last"];
        assert_eq!(rest.get(rest.len() - 2..).expect("two lines"), told);
        assert!(rest.iter().all(|said| *said == line || told.contains(&said.as_str())), "whole");
    }
}
