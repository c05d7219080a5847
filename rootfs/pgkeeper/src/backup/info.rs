//! What `pgbackrest info --output=json` says, as far as it is shown or needed. Pure.

use ::control::Backup;
use serde::Deserialize;

/// Backups and archive of one stanza.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Base backups, oldest first.
    pub backups: Vec<Backup>,
    /// Oldest and newest archived segment.
    pub archive: Option<[String; 2]>,
    /// Whether the repository is ready for backups: the stanza was made.
    pub made: bool,
    /// The archive's newest timeline, if the newest base backup began on an older one: the leader has
    /// changed since. What the old leader had not archived yet is in no archive, so nothing behind the
    /// change can be reached from that backup.
    pub parted: Option<u32>,
}

#[derive(Deserialize)]
struct Stanza {
    name: String,
    #[serde(default)]
    archive: Vec<Archive>,
    #[serde(default)]
    backup: Vec<Made>,
    #[serde(default)]
    db: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Archive {
    min: Option<String>,
    max: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    label: String,
    #[serde(default)]
    archive: Needed,
    timestamp: Timestamp,
    info: Sizes,
    /// Null where pages have no checksums.
    #[serde(default)]
    error: Option<bool>,
}

/// The log that a backup needs to be sound.
#[derive(Default, Deserialize)]
struct Needed {
    start: Option<String>,
}

#[derive(Deserialize)]
struct Timestamp {
    start: u64,
    stop: u64,
}

#[derive(Deserialize)]
struct Sizes {
    size: u64,
    repository: Stored,
}

#[derive(Deserialize)]
struct Stored {
    delta: u64,
}

impl Info {
    /// Reads the JSON; a stanza that isn't in it has nothing.
    pub fn parse(text: &str, stanza: &str) -> Result<Self, String> {
        let all: Vec<Stanza> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Some(own) = all.into_iter().find(|one| one.name == stanza) else {
            return Ok(Self::default());
        };
        let mut made = own.backup;
        made.sort_by_key(|backup| backup.timestamp.stop);
        // A stanza that was upgraded has an archive for each version; the last one is in use.
        let archive = own.archive.into_iter().next_back();
        let archive = archive.and_then(|archive| Some([archive.min?, archive.max?]));
        let began = made.last().and_then(|newest| timeline(newest.archive.start.as_ref()?));
        let reached = archive.as_ref().and_then(|[_, max]| timeline(max));
        let parted = reached.filter(|reached| began.is_some_and(|began| *reached > began));
        let backups = made.into_iter().map(backup).collect();
        Ok(Self { backups, archive, made: !own.db.is_empty(), parted })
    }

    /// When the newest backup was finished, in seconds since 1970. A damaged one counts: the next
    /// would be no better, and reads the whole database.
    pub fn newest(&self) -> Option<u64> {
        self.backups.last().map(|newest| newest.until_unix)
    }

    /// Whether the newest backup has pages whose checksums are wrong, so that older ones may be the
    /// last in which these pages are sound.
    pub fn is_newest_damaged(&self) -> bool {
        self.backups.last().is_some_and(|newest| newest.damaged)
    }
}

/// A segment's name begins with its timeline.
fn timeline(segment: &str) -> Option<u32> {
    u32::from_str_radix(segment.get(..8)?, 16).ok()
}

fn backup(made: Made) -> Backup {
    Backup {
        label: made.label,
        from_unix: made.timestamp.start,
        until_unix: made.timestamp.stop,
        database_bytes: made.info.size,
        stored_bytes: made.info.repository.delta,
        damaged: made.error == Some(true),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLD: &str = r#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"17-1",
        "max":"000000010000000000000005","min":"000000010000000000000001"}],
        "backup":[{"archive":{"start":"000000010000000000000003","stop":"000000010000000000000003"},
        "backrest":{"format":5,"version":"2.54.2"},"database":{"id":1,"repo-key":1},"error":false,
        "info":{"delta":31457280,"repository":{"delta":4194304,"size":4194304},"size":31457280},
        "label":"20261120-115500F","prior":null,"reference":null,
        "timestamp":{"start":1795175700,"stop":1795175710},"type":"full"}],
        "cipher":"aes-256-cbc","db":[{"id":1,"repo-key":1,"system-id":7,"version":"17"}],
        "name":"plant3","repo":[],"status":{"code":0,"message":"ok"}}]"#;

    #[test]
    fn backups_are_listed() {
        let info = Info::parse(TOLD, "plant3").unwrap();
        assert!(info.made);
        assert_eq!(info.newest(), Some(1_795_175_710));
        assert_eq!(info.backups[0].stored_bytes, 4_194_304);
        assert_eq!(info.archive.unwrap()[1], "000000010000000000000005");
    }

    #[test]
    fn a_damaged_backup_is_told_from_a_sound_one() {
        let damaged = TOLD.replace(r#""error":false"#, r#""error":true"#);
        let info = Info::parse(&damaged, "plant3").unwrap();
        assert!(info.is_newest_damaged() && info.newest().is_some());
        assert!(!Info::parse(TOLD, "plant3").unwrap().is_newest_damaged());
    }

    #[test]
    fn an_archive_of_a_newer_timeline_is_of_another_leader() {
        assert_eq!(Info::parse(TOLD, "plant3").unwrap().parted, None);
        let newer = TOLD.replace(r#""max":"00000001"#, r#""max":"0000000A"#);
        assert_eq!(Info::parse(&newer, "plant3").unwrap().parted, Some(10));
        let caught_up = newer.replace(r#""start":"00000001"#, r#""start":"0000000A"#);
        assert_eq!(Info::parse(&caught_up, "plant3").unwrap().parted, None);
    }

    #[test]
    fn a_repository_without_the_stanza_has_nothing() {
        assert_eq!(Info::parse(TOLD, "plant4").unwrap(), Info::default());
        let missing = r#"[{"backup":[],"db":[],"name":"plant3","status":{"code":1}}]"#;
        assert_eq!(Info::parse(missing, "plant3").unwrap(), Info::default());
        assert!(Info::parse("ERROR: no such option", "plant3").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(at in 0_usize..1200, with in "[0-9a-z{}\\[\\]\",:-]{0,4}") {
            let mut text = TOLD.to_owned();
            text.insert_str(at.min(TOLD.len()), &with);
            let _any = Info::parse(&text, "plant3");
            text.truncate(at);
            let _any = Info::parse(&text, "plant3");
        }
    }
}
