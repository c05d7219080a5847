//! The `Release` text of a suite, once its signature was checked: what the suite is, when it was
//! made, and the size and SHA-256 of every index in it.

use std::collections::HashMap;

use thiserror::Error;

use super::deb822::{Deb822Error, stanzas};
use super::digest::{Digest, DigestError};

/// A parsed `Release` file.
#[derive(Clone, Debug)]
pub struct Release {
    pub suite: String,
    pub codename: String,
    /// Unix seconds.
    pub date: u64,
    pub valid_until: Option<u64>,
    /// Whether indexes can be fetched by their hash, which no running mirror update disturbs.
    pub by_hash: bool,
    files: HashMap<String, IndexFile>,
}

/// What a Release says about one index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFile {
    pub size: u64,
    pub digest: Digest,
}

/// Why a Release can't be used.
#[derive(Debug, Error)]
pub enum ReleaseError {
    #[error(transparent)]
    Syntax(#[from] Deb822Error),
    #[error("it has no field {0}")]
    Missing(&'static str),
    #[error("the date {0:?} can't be read")]
    BadDate(String),
    #[error("the SHA256 line {0:?} can't be read")]
    BadLine(String),
    #[error(transparent)]
    BadDigest(#[from] DigestError),
}

impl Release {
    /// Reads a verified text.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let stanza = stanzas(text).next().ok_or(ReleaseError::Missing("SHA256"))?;
        let mut files = None;
        for field in stanza.fields() {
            let field = field?;
            if field.name.eq_ignore_ascii_case("SHA256") {
                files = Some(field.lines().map(parse_line).collect::<Result<_, _>>()?);
            }
        }
        let text_of = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        let date = stanza.get("Date").ok_or(ReleaseError::Missing("Date"))?;
        Ok(Self {
            suite: text_of("Suite"),
            codename: text_of("Codename"),
            date: parse_date(date)?,
            valid_until: stanza.get("Valid-Until").map(parse_date).transpose()?,
            by_hash: stanza.get("Acquire-By-Hash").is_some_and(|v| v.eq_ignore_ascii_case("yes")),
            files: files.ok_or(ReleaseError::Missing("SHA256"))?,
        })
    }

    /// What is said about `main/binary-amd64/Packages.xz` and the like.
    pub fn file(&self, path: &str) -> Option<IndexFile> {
        self.files.get(path).copied()
    }
}

fn parse_line(line: &str) -> Result<(String, IndexFile), ReleaseError> {
    let bad = || ReleaseError::BadLine(line.chars().take(160).collect());
    let mut words = line.split_whitespace();
    let (Some(digest), Some(size), Some(path), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    let size = size.parse().map_err(|_| bad())?;
    Ok((path.to_owned(), IndexFile { size, digest: digest.parse()? }))
}

/// Reads `Sat, 12 Sep 2026 07:55:41 UTC`; Debian writes no other time zone.
fn parse_date(text: &str) -> Result<u64, ReleaseError> {
    unix_seconds(text).ok_or_else(|| ReleaseError::BadDate(text.chars().take(60).collect()))
}

fn unix_seconds(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, zone] = words[..] else {
        return None;
    };
    if !matches!(zone, "UTC" | "GMT" | "+0000" | "Z") {
        return None;
    }
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = year.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let clock: Vec<u64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hours, minutes, seconds] = clock[..] else {
        return None;
    };
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

/// Counts in years that begin in March, so that the leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Days from 0000-03-01 to 1970-01-01.
    const EPOCH_DAYS: u64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - EPOCH_DAYS
}

/// Unix seconds as `2026-09-12 07:55 UTC`, for messages.
pub fn readable_date(seconds: u64) -> String {
    let days = seconds / 86_400;
    let (mut year, mut month, mut day) = (1970, 1, 1);
    // Walking is plenty for a message and has no corner cases.
    while year < 9999 && days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    while month < 12 && days_since_1970(year, month + 1, 1) <= days {
        month += 1;
    }
    day += days.saturating_sub(days_since_1970(year, month, day));
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "Origin: Debian\nSuite: stable\nCodename: trixie\n\
        Date: Sat, 12 Sep 2026 07:55:41 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 x\nSHA256:\n \
        4f2c68d67001d595fbd343f6dbad44468953a51c4d9dec3a4803249f6e295940 56620099 main/x\n";

    #[test]
    fn a_release_names_its_indexes() {
        let release = Release::parse(TEXT).expect("parsed");
        assert_eq!((release.codename.as_str(), release.by_hash), ("trixie", true));
        assert_eq!(release.date, 1_789_199_741);
        assert_eq!(readable_date(release.date), "2026-09-12 07:55 UTC");
        assert_eq!(release.file("main/x").expect("listed").size, 56_620_099);
        assert!(release.file("main/y").is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (from, to) in [
            ("SHA256:", "SHA1:"),
            ("Date:", "Data:"),
            ("UTC", "CEST"),
            (" 56620099 ", " -1 "),
            ("4f2c", "4g2c"),
            ("12 Sep", "42 Sep"),
            ("main/x", "main/x y"),
        ] {
            assert!(Release::parse(&TEXT.replace(from, to)).is_err(), "{to:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn dates_grow_with_the_calendar(days in 0_u64..80_000, seconds in 0_u64..86_400) {
            let text = readable_date(days * 86_400 + seconds);
            let number = |range: std::ops::Range<usize>| -> u64 {
                text[range].parse().expect("digits")
            };
            let back = days_since_1970(number(0..4), number(5..7), number(8..10));
            prop_assert_eq!(back, days);
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,80}") {
            let _ = Release::parse(&text);
            let _ = unix_seconds(&text);
        }
    }
}
