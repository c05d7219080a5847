//! What `pg_controldata` prints, as values. Pure.
//!
//! The control file says how a data folder was left, on which timeline, and how far its WAL goes,
//! without a running server. The program must run with `LC_ALL=C`: its words are translated.
//!
//! Only lines that the keeper decides by are read; a missing or unreadable one is an error, because
//! a guess here would become a promotion or a rewind. Other lines may change with any release.

use std::collections::BTreeMap;

use failover::{Lsn, Timeline};
use thiserror::Error;

/// The longest output that is read; PostgreSQL 17 prints some 3 KiB.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// More than this is no `pg_controldata`.
const MAX_LINES: usize = 200;

/// Why the output can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// Too long.
    #[error("pg_controldata printed {bytes} bytes; what runs under this name is another program")]
    TooLong {
        /// How much.
        bytes: usize,
    },
    /// A line isn't there.
    #[error("pg_controldata doesn't say \"{line}\": run PostgreSQL 17's own, with LC_ALL=C")]
    Missing {
        /// The line's beginning.
        line: &'static str,
    },
    /// A line says something unknown.
    #[error("pg_controldata says \"{line}: {value}\", which the keeper doesn't understand")]
    Unknown {
        /// The line's beginning.
        line: &'static str,
        /// What follows.
        value: String,
    },
}

/// How the server was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Never started.
    New,
    /// Shut down as a primary.
    ShutDown,
    /// Shut down as a standby.
    ShutDownInRecovery,
    /// It was shutting down.
    ShuttingDown,
    /// It was recovering from a crash.
    InCrashRecovery,
    /// It runs as a standby, or died as one.
    InArchiveRecovery,
    /// It runs as a primary, or died as one.
    InProduction,
}

const LEFT: [(&str, Left); 7] = [
    ("starting up", Left::New),
    ("shut down", Left::ShutDown),
    ("shut down in recovery", Left::ShutDownInRecovery),
    ("shutting down", Left::ShuttingDown),
    ("in crash recovery", Left::InCrashRecovery),
    ("in archive recovery", Left::InArchiveRecovery),
    ("in production", Left::InProduction),
];

/// What the keeper decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlData {
    /// Drawn by initdb; a copy has the same.
    pub system: u64,
    /// How the server was left.
    pub left: Left,
    /// The timeline of the last checkpoint.
    pub timeline: Timeline,
    /// Where the last checkpoint's record is.
    pub checkpoint: Lsn,
    /// How far a standby must replay before it is consistent; zero for a primary.
    pub minimum_recovery: Lsn,
    /// On which timeline that is; zero for a primary.
    pub minimum_recovery_timeline: Timeline,
    /// Whether pages have checksums, without which damage goes unnoticed.
    pub checksums: bool,
    /// Whether hint bits are logged, without which (or checksums) nothing can be rewound.
    pub hints_logged: bool,
}

impl ControlData {
    /// The end of the WAL of a server that was shut down: a primary's last record is a checkpoint, a
    /// standby notes how far it came.
    pub fn end(&self) -> (Timeline, Lsn) {
        let primary = (self.timeline, self.checkpoint);
        let standby = (self.minimum_recovery_timeline, self.minimum_recovery);
        if standby.1 > primary.1 { standby } else { primary }
    }

    /// Reads the output.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(ControlError::TooLong { bytes: text.len() });
        }
        let lines = text.lines().take(MAX_LINES).filter_map(|line| line.split_once(':'));
        let lines = Lines(lines.map(|(name, value)| (name.trim(), value.trim())).collect());
        Ok(Self {
            system: lines.read("Database system identifier", |value| value.parse().ok())?,
            left: lines.read("Database cluster state", |value| {
                LEFT.iter().find(|(word, _)| *word == value).map(|(_, left)| *left)
            })?,
            timeline: lines.read("Latest checkpoint's TimeLineID", timeline)?,
            checkpoint: lines.read("Latest checkpoint location", lsn)?,
            minimum_recovery: lines.read("Minimum recovery ending location", lsn)?,
            minimum_recovery_timeline: lines
                .read("Min recovery ending loc's timeline", timeline)?,
            checksums: lines.read("Data page checksum version", |value| match value {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            })?,
            hints_logged: lines.read("wal_log_hints setting", |value| match value {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            })?,
        })
    }
}

/// A setting that a standby must not have lower than its primary had it: PostgreSQL stops at the
/// WAL that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// Its name in `postgresql.conf`.
    pub name: &'static str,
    /// What PostgreSQL takes where nothing is set.
    pub default: u32,
    /// What the data was last written with.
    pub value: u32,
}

const LEAST: [(&str, &str, u32); 5] = [
    ("max_connections setting", "max_connections", 100),
    ("max_worker_processes setting", "max_worker_processes", 8),
    ("max_wal_senders setting", "max_wal_senders", 10),
    ("max_prepared_xacts setting", "max_prepared_transactions", 0),
    ("max_locks_per_xact setting", "max_locks_per_transaction", 64),
];

/// The settings that the data was written with. Lines that aren't there are left out.
pub fn least(text: &str) -> Vec<Least> {
    let value = |line: &str| {
        let told = text.lines().find_map(|told| told.strip_prefix(line)?.strip_prefix(':'))?;
        told.trim().parse().ok()
    };
    let of = |(line, name, default)| Some(Least { name, default, value: value(line)? });
    LEAST.into_iter().filter_map(of).collect()
}

struct Lines<'a>(BTreeMap<&'a str, &'a str>);

impl Lines<'_> {
    fn read<T>(
        &self,
        line: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ControlError> {
        let value = self.0.get(line).ok_or(ControlError::Missing { line })?;
        read(value).ok_or_else(|| ControlError::Unknown { line, value: (*value).to_owned() })
    }
}

fn timeline(text: &str) -> Option<Timeline> {
    text.parse().ok().map(Timeline)
}

/// A position as PostgreSQL writes it: two hexadecimal halves.
pub fn lsn(text: &str) -> Option<Lsn> {
    let half = |text: &str| {
        let sound = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        sound.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    let (high, low) = text.split_once('/')?;
    Some(Lsn((half(high)? << 32) | half(low)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRINTED: &str = "\
pg_control version number:            1700
Catalog version number:               202406281
Database system identifier:           7432156789012345678
Database cluster state:               in archive recovery
pg_control last modified:             Fri Nov 20 13:00:00 2026
Latest checkpoint location:           1/3000060
Latest checkpoint's REDO location:    1/3000028
Latest checkpoint's TimeLineID:       4
Latest checkpoint's PrevTimeLineID:   4
Minimum recovery ending location:     1/30000D8
Min recovery ending loc's timeline:   4
wal_log_hints setting:                on
Data page checksum version:           1
";

    #[test]
    fn what_is_printed_is_read() {
        assert_eq!(
            ControlData::parse(PRINTED),
            Ok(ControlData {
                system: 7_432_156_789_012_345_678,
                left: Left::InArchiveRecovery,
                timeline: Timeline(4),
                checkpoint: Lsn(0x1_0300_0060),
                minimum_recovery: Lsn(0x1_0300_00d8),
                minimum_recovery_timeline: Timeline(4),
                checksums: true,
                hints_logged: true,
            })
        );
    }

    #[test]
    fn every_line_is_needed_and_nothing_is_guessed() {
        for line in [
            "Database system identifier",
            "Database cluster state",
            "Latest checkpoint location",
            "Latest checkpoint's TimeLineID",
            "Minimum recovery ending location",
            "Min recovery ending loc's timeline",
            "wal_log_hints setting",
            "Data page checksum version",
        ] {
            let without = PRINTED.replace(line, "Something else");
            assert_eq!(ControlData::parse(&without), Err(ControlError::Missing { line }));
        }
        let translated = PRINTED.replace("in archive recovery", "in Wiederherstellung");
        assert!(matches!(ControlData::parse(&translated), Err(ControlError::Unknown { .. })));
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        assert!(matches!(ControlData::parse(&long), Err(ControlError::TooLong { .. })));
    }

    #[test]
    fn positions_are_two_halves() {
        assert_eq!(lsn("0/0"), Some(Lsn(0)));
        assert_eq!(lsn("FFFFFFFF/FFFFFFFF"), Some(Lsn(u64::MAX)));
        for wrong in ["", "/", "1/", "/1", "1/+2", "1/123456789", "g/1", "1/2/3"] {
            assert_eq!(lsn(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,200}", at in 0_usize..900, with in "\\PC{0,3}") {
            let _any = ControlData::parse(&text);
            let mut changed = PRINTED.to_owned();
            changed.insert_str(at.min(PRINTED.len()), &with);
            let _any = ControlData::parse(&changed);
        }

        #[test]
        fn a_position_survives_the_way(number in any::<u64>()) {
            let text = format!("{:X}/{:X}", number >> 32, number & 0xffff_ffff);
            prop_assert_eq!(lsn(&text), Some(Lsn(number)));
        }
    }
}
