//! Answers as people read them: pure functions from answers to text.

mod database;
mod redact;
mod status;
mod table;
mod time;
mod top;

pub use database::{backups_screen, database_screen};
pub use redact::redacted;
pub use status::screen;
pub use time::{compact_utc, log_time, span, utc};
pub use top::{Sample, usage_screen};

/// Whether text may be coloured: only on a terminal, and not if `NO_COLOR` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Letters only.
    Plain,
    /// With ANSI colours.
    Coloured,
}

/// What a colour says; the words say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Uneasy,
    /// Not as it should be.
    Bad,
    /// Neither.
    Neutral,
    /// A heading.
    Heading,
}

impl Style {
    /// A text in the colour of a mood.
    pub fn paint(self, mood: Mood, text: &str) -> String {
        let code = match mood {
            Mood::Good => "32",
            Mood::Uneasy => "33",
            Mood::Bad => "31",
            Mood::Heading => "1",
            Mood::Neutral => "",
        };
        if self == Self::Plain || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A text that can't steer a terminal: what a service writes into its log may be anything.
pub fn plain(text: &str) -> String {
    let safe = |c: char| match c {
        '\t' => ' ',
        // Direction overrides make a line read as something that it isn't.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// A number of bytes in the unit that keeps it short.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if count >> shift > 0 {
            let tenths = (u128::from(count) * 10) >> shift;
            return if tenths >= 100 {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{count} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (count, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 << 20, "10 MiB"),
            ((3 << 30) / 2, "1.5 GiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }

    #[test]
    fn a_log_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\rc\u{9b}d\u{202e}e\tf"), "a?[31mb?c?d?e f");
    }
}
