//! `[database]`: PostgreSQL 17 and its backup.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::DeValue;

use crate::problem::Wrong;
use crate::reader::{Item, Read, Reader, choice, section};
use crate::scalar::{
    AbsolutePath, Bytes, Connections, Count, DurationText, Identifier, Line, Port, Url, Word,
};

/// The value of a PostgreSQL setting as `postgresql.conf` takes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Setting(String);

impl Setting {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Read for Setting {
    fn kind() -> String {
        "number, text, true or false".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = match item.value {
            DeValue::Boolean(true) => "on".to_owned(),
            DeValue::Boolean(false) => "off".to_owned(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::String(text) => match text.parse::<Line>() {
                Ok(line) => line.as_str().to_owned(),
                Err(wrong) => {
                    reader.report(&item.path, &item.span, wrong);
                    return None;
                }
            },
            _ => {
                let wrong = Wrong::new(
                    "a setting of PostgreSQL is a number, a text, true or false",
                    "is none of these",
                    "write it as in postgresql.conf, such as `work_mem = \"16MB\"`",
                );
                reader.report(&item.path, &item.span, wrong);
                return None;
            }
        };
        Some(Self(text))
    }
}

choice! {
    /// Where backups go.
    BackupTarget ("backup target") {
        /// Into a directory on the node itself; needs `directory`. Nothing mounts another disk yet.
        Directory = "directory",
        /// Into an S3-compatible store; needs `endpoint` and `bucket`, and the keys in `[secrets]`.
        S3 = "s3",
    }
}

section! {
    /// Base backups and the archive of the write-ahead log.
    Backup {
        /// Where they go.
        target: BackupTarget = required;
        /// The directory (target "directory"): /state/backup, or one below it.
        directory: AbsolutePath = optional;
        /// URL of the store (target "s3").
        endpoint: Url = optional;
        /// Name of the bucket (target "s3").
        bucket: Word = optional;
        /// Region of the store (target "s3").
        region: Word = default("'us-east-1'");
        /// Path within directory or bucket.
        prefix: AbsolutePath = default("'/'");
        /// Time between two base backups, a second at least; after a change of leaders, an hour at most.
        every: DurationText = default("'1d'");
        /// How many base backups are kept.
        keep: Count = default("7");
        /// Whether the write-ahead log is archived too, for recovery to any moment.
        archive_wal: bool = default("true");
    }
    rules = backup_is_possible;
}

section! {
    /// A role of the database and who may log in as it.
    DatabaseUser {
        /// The role's name.
        name: Identifier = required;
        /// Common names of the client certificates that log in as this role.
        clients: Vec<Line> = required;
        /// Whether the role owns the database, and so may create tables.
        owner: bool = default("true");
    }
}

section! {
    /// PostgreSQL 17. Clients reach it on the database VIP, always by TLS with a client certificate.
    Database {
        /// Name of the database.
        name: Identifier = default("'kubernetes'");
        /// Port that clients use.
        port: Port = default("5432");
        /// Port that the peer replicates from.
        replication_port: Port = default("5433");
        /// Roles and their clients.
        users: Vec<DatabaseUser> = default("[]");
        /// Largest number of connections; clients get ten fewer. K3s alone can use a hundred.
        max_connections: Connections = default("200");
        /// Memory that PostgreSQL uses as its cache, 128 KiB at least.
        shared_buffers: Bytes = default("'128MiB'");
        /// Whether a commit waits for the standby's disk. `false` gives speed for possible loss.
        synchronous: bool = default("true");
        /// Further settings of `postgresql.conf`.
        settings: BTreeMap<String, Setting> = default("{}");
        /// Base backups and log archive.
        backup: Backup = optional;
    }
}

fn backup_is_possible(backup: &Backup, item: &Item<'_>, reader: &mut Reader<'_>) {
    backup_has_its_target(backup, item, reader);
    backup_goes_where_it_can(backup, item, reader);
}

/// Where the node makes a folder for them, which is PostgreSQL's. Its other folders are emptied by
/// whoever they belong to.
const BACKUP_FOLDER: &str = "/state/backup";

fn backup_goes_where_it_can(backup: &Backup, item: &Item<'_>, reader: &mut Reader<'_>) {
    let below = |path: &str| {
        path.strip_prefix(BACKUP_FOLDER)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let directory = backup.directory.as_ref().map(AbsolutePath::as_str);
    let endpoint = backup.endpoint.as_ref().map(Url::as_str);
    let wrong = match backup.target {
        BackupTarget::Directory if directory.is_some_and(|path| !below(path)) => Wrong::new(
            "the directory of backups is /state/backup, or below it",
            format!("has `directory = \"{}\"`", directory.unwrap_or_default()),
            "write `directory = \"/state/backup\"`",
        ),
        BackupTarget::S3 if endpoint.is_some_and(|url| !url.starts_with("https://")) => Wrong::new(
            "an S3 store is reached by TLS only",
            format!("has `endpoint = \"{}\"`", endpoint.unwrap_or_default()),
            "write it like `endpoint = \"https://s3.example.org\"`",
        ),
        BackupTarget::Directory | BackupTarget::S3 => return,
    };
    if reader.is_sound_below(&item.path) {
        reader.report(&item.path, &item.span, wrong);
    }
}

fn backup_has_its_target(backup: &Backup, item: &Item<'_>, reader: &mut Reader<'_>) {
    let missing = match backup.target {
        BackupTarget::Directory if backup.directory.is_none() => "directory",
        BackupTarget::S3 if backup.endpoint.is_none() => "endpoint",
        BackupTarget::S3 if backup.bucket.is_none() => "bucket",
        _ => return,
    };
    if reader.is_sound_below(&item.path) {
        let wrong = Wrong::new(
            format!("a backup to \"{}\" needs `{missing}`", backup.target),
            format!("has no `{missing}`"),
            match missing {
                "directory" => "add `directory = \"/state/backup\"`",
                "endpoint" => "add `endpoint = \"https://s3.example.org\"`",
                _ => "add `bucket = \"plant-3\"`",
            },
        );
        reader.report(&item.path, &item.span, wrong);
    }
}
