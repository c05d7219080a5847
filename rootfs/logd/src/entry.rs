//! One line on its way from PID 1 to a file.

use std::fmt::Write;
use std::time::Duration;

use control::LogLine;
use logs::Harmless;
use sys::clock::Civil;

/// How much of the kernel's boot id a line carries; enough to tell the boots of one node apart.
pub const BOOT_ID_CHARS: usize = 8;

/// The file of lines that belong to no service: those of the agent and of the kernel.
pub const NODE_SOURCE: &str = "node";

/// Longest name that becomes a file's. Services have shorter ones.
const NAME_BYTES: usize = 64;

/// Words by which a line is taken for a warning. They stand near the front, in whatever format.
const WARNINGS: [&str; 6] = ["warn", "error", "fatal", "panic", "fail", "corrupt"];

/// How far from its start a line is searched for them.
const WARNING_WITHIN: usize = 160;

/// One line of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    /// Whose it is, and thereby which file's.
    pub source: String,
    /// Since 1970, by the node's clock.
    pub wall: Duration,
    /// Since boot.
    pub boot: Duration,
    pub text: String,
}

impl Entry {
    /// A line as PID 1 gives it. `now` is the present on both clocks, since 1970 and since boot.
    pub fn from_line(line: LogLine, now: (Duration, Duration)) -> Self {
        let wall = Duration::from_millis(line.unix_ms);
        let age = now.0.saturating_sub(wall);
        let source = line.service.map_or_else(|| NODE_SOURCE.to_owned(), |name| name.to_string());
        Self { seq: line.seq, source, wall, boot: now.1.saturating_sub(age), text: line.text }
    }

    /// Whether its source is fit to be a file's name: nothing that leads elsewhere or hides.
    pub fn has_good_name(&self) -> bool {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_@".contains(&byte);
        (1..=NAME_BYTES).contains(&self.source.len()) && self.source.bytes().all(good)
    }

    /// Whether the line should survive a power cut that comes now.
    pub fn warns(&self) -> bool {
        let front: String = self.text.chars().take(WARNING_WITHIN).collect();
        let front = front.to_ascii_lowercase();
        WARNINGS.iter().any(|word| front.contains(word))
    }

    /// The line in a file, with its end.
    pub fn to_file_line(&self, boot_id: &str) -> String {
        let Self { seq, wall, boot, text, .. } = self;
        let civil = Civil::from_unix(wall.as_secs());
        let (wall_ms, boot_s, boot_ms) =
            (wall.subsec_millis(), boot.as_secs(), boot.subsec_millis());
        let text = Harmless(text.as_bytes());
        let mut line = String::new();
        // Writing to a string can't fail.
        let _always =
            writeln!(line, "{civil}.{wall_ms:03}Z {boot_id}:{seq} {boot_s}.{boot_ms:03} {text}");
        line
    }

    /// The number that a file's line carries, if it is a whole one of this boot.
    pub(crate) fn seq_of(line: &[u8], boot_id: &str) -> Option<u64> {
        let word = line.split(|byte| *byte == b' ').nth(1)?;
        let number = word.strip_prefix(boot_id.as_bytes())?.strip_prefix(b":")?;
        std::str::from_utf8(number).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(source: &str, text: &str) -> Entry {
        Entry {
            seq: 1234,
            source: source.to_owned(),
            wall: Duration::from_millis(1_795_174_177_042),
            boot: Duration::from_millis(123_042),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_line_says_when_which_boot_and_what() {
        let line = entry("a", "x\u{1b}y").to_file_line("6f1d02ab");
        assert_eq!(line, "2026-11-20T11:29:37.042Z 6f1d02ab:1234 123.042 x\\x1by\n");
        assert_eq!(Entry::seq_of(line.as_bytes(), "6f1d02ab"), Some(1234));
        assert_eq!(Entry::seq_of(line.as_bytes(), "00000000"), None);
        assert_eq!(Entry::seq_of(b"", "6f1d02ab"), None);
        assert_eq!(Entry::seq_of(b"2026 6f1d02ab:x", "6f1d02ab"), None);
    }

    #[test]
    fn the_time_since_boot_is_found_again() {
        let line = LogLine::new(1, 5_000_000, None, b"x");
        let now = (Duration::from_secs(5010), Duration::from_secs(100));
        let entry = Entry::from_line(line, now);
        assert_eq!((entry.boot, entry.source.as_str()), (Duration::from_secs(90), NODE_SOURCE));
    }

    #[test]
    fn names_lead_nowhere() {
        for good in ["postgres", "k3s-agent", "getty@tty1", "a"] {
            assert!(entry(good, "").has_good_name(), "{good}");
        }
        for bad in ["", "..", "a/b", "/etc", "a.log", "a\0", "ä", &"x".repeat(65)] {
            assert!(!entry(bad, "").has_good_name(), "{bad}");
        }
    }

    #[test]
    fn warnings_are_known_by_their_words() {
        assert!(entry("a", "2026-11-20 [42] ERROR:  relation is gone").warns());
        assert!(entry("a", "level=warning msg=x").warns());
        assert!(!entry("a", "all is well").warns());
        assert!(!entry("a", &format!("{}error", "x".repeat(200))).warns());
    }

    proptest! {
        #[test]
        fn no_line_of_a_file_panics(line in prop::collection::vec(any::<u8>(), 0..60)) {
            Entry::seq_of(&line, "6f1d02ab");
        }

        #[test]
        fn whatever_is_said_becomes_one_line_that_is_found_again(seq: u64, ms: u64, text: String) {
            let now = (Duration::from_millis(ms / 2), Duration::from_secs(1));
            let entry = Entry::from_line(LogLine::new(seq, ms, None, text.as_bytes()), now);
            let line = entry.to_file_line("6f1d02ab");
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(Entry::seq_of(line.as_bytes(), "6f1d02ab"), Some(seq));
        }
    }
}
