//! The configuration of the backup service, rendered from the seed by the overlay `backup`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use ::control::{BACKUP_SOCKET_PATH, KEEPER_SOCKET_PATH};
use serde::Deserialize;

use super::BackupError;

/// What `backup.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where backups go, for people.
    pub target: String,
    /// The directory that backups go to, if they go to one.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// The path within it.
    #[serde(default = "root")]
    pub prefix: PathBuf,
    /// Seconds between two base backups.
    pub every_seconds: u64,
    /// How many of them stay.
    pub keep: usize,
    /// pgBackRest.
    #[serde(default = "pgbackrest")]
    pub pgbackrest: PathBuf,
    /// Its configuration, which has the secrets.
    pub settings: PathBuf,
    /// The name that backups have in the repository; that of the cluster.
    pub stanza: String,
    /// The folder of PostgreSQL's programs.
    pub programs: PathBuf,
    /// PostgreSQL's data.
    pub data: PathBuf,
    /// Where this service listens.
    #[serde(default = "own_socket")]
    pub socket: PathBuf,
    /// Where the keeper listens.
    #[serde(default = "keeper_socket")]
    pub keeper_socket: PathBuf,
    /// The group that may ask beside root, by number.
    #[serde(default)]
    pub group: Option<u32>,
}

fn root() -> PathBuf {
    PathBuf::from("/")
}

fn pgbackrest() -> PathBuf {
    PathBuf::from("/usr/bin/pgbackrest")
}

fn own_socket() -> PathBuf {
    PathBuf::from(BACKUP_SOCKET_PATH)
}

fn keeper_socket() -> PathBuf {
    PathBuf::from(KEEPER_SOCKET_PATH)
}

impl Config {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        let text = fs::read_to_string(path)
            .map_err(|source| BackupError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|why| BackupError::Syntax { path: path.to_owned(), why })
    }

    /// The same from a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if config.stanza.is_empty() || !config.stanza.chars().all(plain) {
            return Err(format!(
                "\"{}\" can't name a stanza: use letters and digits",
                config.stanza
            ));
        }
        if config.every_seconds == 0 {
            return Err("`every_seconds` is 0: write how often backups are made".to_owned());
        }
        if config.keep == 0 {
            return Err("`keep` is 0: write how many backups stay".to_owned());
        }
        if config.data.parent().is_none() || config.data.is_relative() {
            return Err("`data` must be an absolute path below `/`".to_owned());
        }
        let plain = |path: &Path| path.components().all(|part| part != Component::ParentDir);
        if config.repository().is_some_and(|path| path.is_relative() || !plain(&path)) {
            return Err("`directory` must be an absolute path without `..`".to_owned());
        }
        Ok(config)
    }

    /// The folder that pgBackRest calls its repository, if it is on this node.
    pub fn repository(&self) -> Option<PathBuf> {
        let below = self.prefix.strip_prefix("/").unwrap_or(&self.prefix);
        Some(self.directory.as_ref()?.join(below))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOUND: &str = "target = '/state/backup'\nevery_seconds = 86400\nkeep = 7\n\
        settings = '/etc/p.conf'\nstanza = 'plant3'\nprograms = '/usr/lib/postgresql/17/bin'\n\
        data = '/state/postgres/data'\n";

    #[test]
    fn what_is_wrong_is_refused() {
        assert_eq!(Config::parse(SOUND).unwrap().socket, Path::new(BACKUP_SOCKET_PATH));
        let refused = |from: &str, to: &str| Config::parse(&SOUND.replace(from, to)).unwrap_err();
        assert!(refused("target", "targte").contains("targte"));
        assert!(refused("86400", "0").contains("how often"));
        assert!(refused("keep = 7", "keep = 0").contains("how many"));
        assert!(refused("plant3", "../x").contains("stanza"));
        assert!(refused("/state/postgres/data", "data").contains("absolute"));
        for directory in ["backup", "/state/backup/.."] {
            let text = format!("directory = '{directory}'\n{SOUND}");
            assert!(Config::parse(&text).unwrap_err().contains("`directory`"));
        }
    }

    #[test]
    fn the_repository_is_where_pgbackrest_is_told_to_have_it() {
        assert_eq!(Config::parse(SOUND).unwrap().repository(), None);
        let directory = format!("directory = '/state/backup'\n{SOUND}");
        let repository = |text: &str| Config::parse(text).unwrap().repository().unwrap();
        assert_eq!(repository(&directory), Path::new("/state/backup"));
        let within = format!("prefix = '/plant/3'\n{directory}");
        assert_eq!(repository(&within), Path::new("/state/backup/plant/3"));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,100}", at in 0_usize..200, with in "[a-z'=\n]{0,3}") {
            let _any = Config::parse(&text);
            let mut changed = SOUND.to_owned();
            changed.insert_str(at.min(SOUND.len()), &with);
            let _any = Config::parse(&changed);
        }
    }
}
