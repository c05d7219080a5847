//! Lines on standard error, written without ever waiting for whoever reads them.
//!
//! A full pipe must hold up neither a heartbeat nor what PostgreSQL's driver does. So a pipe is
//! opened anew without blocking, and what doesn't fit is counted and said later.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{dup, write};
use rustix::pipe::PIPE_BUF;
use rustix::stdio::stderr;

/// How long a complaint of the same kind stays silent.
const QUIET: Duration = Duration::from_secs(10);

/// What is complained about. The words may differ each time, such as by a length that a stranger
/// chooses, and are no reason to say it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Complaint {
    /// A gateway can't be asked.
    Gateway,
    /// There is none.
    NoGateway,
    /// Somebody else adverts the virtual address.
    ForeignVip,
    /// A datagram on the channel of this number isn't the peer's.
    Datagram(u8),
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    descriptor: Option<OwnedFd>,
    lost: u64,
    /// When each was last said, and how often it was not since.
    complaints: BTreeMap<Complaint, (Duration, u64)>,
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
        Self { descriptor: own.ok(), lost: 0, complaints: BTreeMap::new() }
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
    pub(crate) fn complain(&mut self, now: Duration, about: Complaint, text: impl Display) {
        let unsaid = match self.complaints.get_mut(&about) {
            Some((at, unsaid)) if now < at.saturating_add(QUIET) => {
                *unsaid += 1;
                return;
            }
            Some((_, unsaid)) => *unsaid,
            None => 0,
        };
        self.complaints.insert(about, (now, 0));
        match unsaid {
            0 => self.line(text),
            more => self.line(format_args!("{text} ({more} more since)")),
        }
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

    #[test]
    fn complaints_that_alternate_are_said_now_and_then_all_the_same() {
        let (output, input) = std::io::pipe().expect("a pipe");
        let mut log = Log::on(input.as_fd());
        for second in 0..12 {
            for length in 0..50 {
                for channel in [0, 1] {
                    let text = format_args!("channel {channel}: {length} bytes");
                    let about = Complaint::Datagram(channel);
                    log.complain(Duration::from_secs(second), about, text);
                }
            }
        }
        drop((log, input));
        let lines: Vec<String> = BufReader::new(output).lines().map_while(Result::ok).collect();
        let more = |channel| format!("channel {channel}: 0 bytes (499 more since)");
        let first = |channel| format!("channel {channel}: 0 bytes");
        assert_eq!(lines, [first(0), first(1), more(0), more(1)]);
    }
}
