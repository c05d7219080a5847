//! What PostgreSQL says on its standard error: handed on line by line, and looked through for the
//! reasons why a standby can't follow. Pure.
//!
//! No view tells these reasons. The words are those of PostgreSQL 13 to 18 in the language that the
//! configuration fixes; the tests have real servers say them.

use std::collections::VecDeque;
use std::time::Duration;

/// What a standby's log says when only a repair helps.
const PARTED: [&[&str]; 8] = [
    // The WAL that it needs next is gone.
    &["requested WAL segment", "has already been removed"],
    // The peer doesn't have what this node has.
    &["requested starting point", "is ahead of the WAL flush position"],
    &["requested starting point", "is not in this server's history"],
    // The peer's history leaves this node's before its end.
    &["new timeline", "forked off current database system timeline", "before current recovery"],
    &["highest timeline", "of the primary is behind recovery timeline"],
    // The same, found at the start.
    &["requested timeline", "does not contain minimum recovery point"],
    &["requested timeline", "is not a child of this server's history"],
    // Another database altogether.
    &["database system identifier differs between the primary and standby"],
];

/// Whether this line says that only a repair helps.
pub(super) fn says_parted(line: &str) -> bool {
    PARTED.iter().any(|words| words.iter().all(|word| line.contains(word)))
}

/// The same line again within this time is not said again: a standby whose peer is off says the
/// same three lines twice a second.
const QUIET: Duration = Duration::from_mins(1);
/// How many lines are remembered.
const REMEMBERED: usize = 16;

/// Drops lines that were said a moment ago.
#[derive(Debug, Default)]
pub(super) struct Repeats(VecDeque<(String, Duration)>);

impl Repeats {
    /// Whether the line is news at this time.
    pub(super) fn is_news(&mut self, line: &str, now: Duration) -> bool {
        let known = self.0.iter().any(|(said, at)| said == line && now.saturating_sub(*at) < QUIET);
        if known {
            return false;
        }
        self.0.retain(|(said, _)| said != line);
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((line.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_from_noise() {
        for line in [
            "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment \
             000000010000000000000003 has already been removed",
            "FATAL:  could not start WAL streaming: ERROR:  requested starting point 0/3000000 on \
             timeline 1 is not in this server's history",
            "LOG:  new timeline 2 forked off current database system timeline 1 before current \
             recovery point 0/30000D8",
        ] {
            assert!(says_parted(line), "{line}");
        }
        for line in [
            "FATAL:  could not connect to the primary server: connection refused",
            "LOG:  started streaming WAL from primary at 0/3000000 on timeline 1",
            "FATAL:  terminating walreceiver process due to administrator command",
        ] {
            assert!(!says_parted(line), "{line}");
        }
    }

    #[test]
    fn a_line_is_news_once_a_minute() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_news("a", Duration::ZERO));
        assert!(!repeats.is_news("a", Duration::from_secs(59)));
        assert!(repeats.is_news("b", Duration::from_secs(59)));
        assert!(repeats.is_news("a", QUIET));
        assert!(!repeats.is_news("a", Duration::from_secs(61)));
    }
}
