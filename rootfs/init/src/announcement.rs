//! The two lines by which whoever watches the console knows how the boot went: `ready` once, or
//! `degraded` if that takes too long, and `ready` later all the same if it still comes to it.

use std::time::Duration;

/// How long services may take to be ready until the console says which aren't. The slowest, a
/// database that recovers, takes some ten seconds; who waits longer wants to know for what.
const DEGRADED_AFTER: Duration = Duration::from_mins(1);

/// What was said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Degraded,
    Ready,
}

/// Decides what is to be said.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    since: Duration,
    said: Said,
}

/// What is to be said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Ready,
    Degraded,
}

impl Announcement {
    /// Services began at this time.
    pub(crate) fn new(since: Duration) -> Self {
        Self { since, said: Said::Nothing }
    }

    /// Whether it still has something to say.
    pub(crate) fn is_open(&self) -> bool {
        self.said != Said::Ready
    }

    /// What to say at a time, given whether all services are ready or done.
    pub(crate) fn next(&mut self, now: Duration, all_ready: bool) -> Option<Line> {
        let late = now.saturating_sub(self.since) >= DEGRADED_AFTER;
        let (said, line) = match self.said {
            Said::Nothing | Said::Degraded if all_ready => (Said::Ready, Line::Ready),
            Said::Nothing if late => (Said::Degraded, Line::Degraded),
            _ => return None,
        };
        self.said = said;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: Duration = Duration::from_secs(5);

    #[test]
    fn ready_is_said_once_and_at_once() {
        let mut announcement = Announcement::new(BEGUN);
        assert_eq!(announcement.next(BEGUN, true), Some(Line::Ready));
        assert_eq!(announcement.next(BEGUN, true), None);
        assert_eq!(announcement.next(BEGUN + DEGRADED_AFTER, false), None);
        assert!(!announcement.is_open());
    }

    #[test]
    fn degraded_is_said_once_and_ready_may_follow() {
        let mut announcement = Announcement::new(BEGUN);
        let late = BEGUN + DEGRADED_AFTER;
        assert_eq!(announcement.next(late.saturating_sub(Duration::from_millis(1)), false), None);
        assert_eq!(announcement.next(late, false), Some(Line::Degraded));
        assert_eq!(announcement.next(late * 2, false), None);
        assert_eq!(announcement.next(late * 3, true), Some(Line::Ready));
    }
}
