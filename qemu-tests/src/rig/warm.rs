//! Clusters that were formed once and are started from where they stood.
//!
//! ```text
//!   form ─> all stand still ─> memory and disks to files ─┐
//!                                   cache/warm/KEY/       ├─> started from the files ─> all go on
//!   a later run with the same key ────────────────────────┘
//! ```
//! A drill can't tell: its first run is started from the files too. The key names everything that
//! what is in the files depends on, so a folder is right or isn't found, and may be removed at any
//! time. Nothing is saved after a fault: saving flushes the disks.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use builder::unfinished::Scratch;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::entry::{Ip, Site, Topology};
use super::kit::{Kit, fingerprint};
use super::machine::{Body, Machine};

/// Counts up whenever what is in a folder changes.
const FORMAT: u32 = 2;
/// So many clusters are kept, the latest used: three machines take half a gigabyte.
const KEPT: usize = 6;
/// How folders are called while they are filled, and when nobody fills them any more.
const UNFINISHED: &str = ".new-";
const ABANDONED: Duration = Duration::from_hours(1);
const RECORD: &str = "warm.json";
const SITE: &str = "site";

#[derive(Debug, Error)]
pub enum WarmError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}; remove its folder", path.display())]
    Record { path: PathBuf, source: serde_json::Error },
}

/// What can't be found out from the files beside it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Record {
    /// The nodes with their seeds, as they are on the disks, so with secrets.
    pub seeds: Vec<(String, String)>,
    /// The boot id of each machine's probe, which said it when it came.
    pub boot_ids: Vec<(String, String)>,
}

/// A cluster's folder, in the cache or on its way there.
#[derive(Clone, Debug)]
pub struct Warm {
    pub folder: PathBuf,
    pub site: PathBuf,
}

impl Warm {
    fn at(folder: PathBuf) -> Self {
        Self { site: folder.join(SITE), folder }
    }

    pub fn record(&self) -> Result<Record, WarmError> {
        let path = self.folder.join(RECORD);
        let text = fs::read(&path).map_err(in_file(&path))?;
        serde_json::from_slice(&text).map_err(|source| WarmError::Record { path, source })
    }

    pub fn write(&self, record: &Record) -> Result<(), WarmError> {
        let path = self.folder.join(RECORD);
        let text = serde_json::to_vec(record)
            .map_err(|source| WarmError::Record { path: path.clone(), source })?;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(&text)).map_err(in_file(&path))
    }
}

/// Where formed clusters are kept.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In this cache.
    pub fn within(cache: &Path) -> Self {
        Self { folder: cache.join("warm") }
    }

    /// A cluster that was formed earlier. One whose record can't be read (the desk lost its power while
    /// it was written) is none, and goes.
    pub fn find(&self, key: &str) -> Option<Warm> {
        let folder = self.folder.join(key);
        // It counts as used, however it goes on.
        File::open(&folder).and_then(|folder| folder.set_modified(SystemTime::now())).ok()?;
        let warm = Warm::at(folder);
        if warm.record().is_err() {
            let _gone = self.remove(key);
            return None;
        }
        Some(warm)
    }

    /// A folder of one's own, for a cluster that is about to be saved.
    pub fn begin(&self) -> Result<(Scratch, Warm), WarmError> {
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&self.folder).map_err(in_file(&self.folder))?;
        let scratch = Scratch::within(&self.folder, UNFINISHED).map_err(in_file(&self.folder))?;
        let warm = Warm::at(scratch.path().to_owned());
        Ok((scratch, warm))
    }

    /// Puts what was saved where it is found, and lets those go that weren't used for the longest time.
    /// Gives where it is now. If somebody was faster that is where it was: the other cluster has other
    /// secrets than the run that saved this one.
    pub fn keep(&self, saved: Warm, key: &str) -> Result<Warm, WarmError> {
        let folder = self.folder.join(key);
        let kept = match fs::rename(&saved.folder, &folder) {
            Ok(()) => Warm::at(folder),
            Err(_) if folder.is_dir() => saved,
            Err(error) => return Err(in_file(&folder)(error)),
        };
        self.let_go(KEPT)?;
        Ok(kept)
    }

    /// Removes a cluster that can't be started.
    pub fn remove(&self, key: &str) -> Result<(), WarmError> {
        let folder = self.folder.join(key);
        fs::remove_dir_all(&folder).map_err(in_file(&folder))
    }

    fn let_go(&self, kept: usize) -> Result<(), WarmError> {
        let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(in_file(&self.folder))?.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                all.push((used, entry.path()));
            } else if used.elapsed().is_ok_and(|age| age > ABANDONED) {
                // Its run was killed before it could tidy up.
                let _gone = fs::remove_dir_all(entry.path());
            }
        }
        all.sort();
        let surplus = all.len().saturating_sub(kept);
        for (_, folder) in all.into_iter().take(surplus) {
            // Another run may let go of the same one.
            let _gone = fs::remove_dir_all(folder);
        }
        Ok(())
    }
}

/// Names a formed cluster by all that it depends on: the image, QEMU and its arguments, what the
/// nodes are to be, and the program that forms it.
pub fn key(
    kit: &Kit,
    topology: &Topology,
    ip: Option<Ip>,
    root: &Path,
) -> Result<String, WarmError> {
    let files: Vec<&str> = match topology.site {
        Site::Cluster { v4, v6 } => vec![if ip == Some(Ip::V6) { v6 } else { v4 }],
        Site::Seeds(files) => files.to_vec(),
    };
    let machines = [Body::Node { seed: String::new() }, Body::Tester];
    let mut parts = vec![
        format!("{FORMAT} {:?} {}", topology.steady, topology.tester).into_bytes(),
        kit.fingerprint.clone().into_bytes(),
        kit.qemu.describe().into_bytes(),
    ];
    parts.extend(machines.iter().map(|body| Machine::shape(kit, body).into_bytes()));
    for file in files {
        let path = root.join(file);
        parts.push(fs::read(&path).map_err(in_file(&path))?);
    }
    Ok(fingerprint(&parts))
}

/// Copies a folder of plain files and folders; what is private stays so.
pub fn copy(from: &Path, to: &Path) -> Result<(), WarmError> {
    let mode = fs::metadata(from).map_err(in_file(from))?.permissions();
    fs::create_dir(to).map_err(in_file(to))?;
    for entry in fs::read_dir(from).map_err(in_file(from))? {
        let entry = entry.map_err(in_file(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(in_file(&source))?;
        }
    }
    fs::set_permissions(to, mode).map_err(in_file(to))
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> WarmError {
    let path = path.to_owned();
    move |source| WarmError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(store: &Store, key: &str) -> Warm {
        let (_scratch, warm) = store.begin().expect("begun");
        let record = Record { seeds: Vec::new(), boot_ids: vec![("n".to_owned(), key.to_owned())] };
        warm.write(&record).expect("written");
        store.keep(warm, key).expect("kept")
    }

    #[test]
    fn a_kept_cluster_is_found_by_its_key_alone() {
        let cache = tempfile::tempdir().expect("a folder");
        let store = Store::within(cache.path());
        assert!(store.find("a").is_none());
        saved(&store, "a");
        let found = store.find("a").expect("kept").record().expect("whole");
        assert_eq!(found.boot_ids[0].1, "a");
        assert!(store.find("b").is_none());
        store.remove("a").expect("removed");
        assert!(store.find("a").is_none());
    }

    #[test]
    fn whoever_comes_second_goes_on_from_its_own_and_leaves_nothing() {
        let cache = tempfile::tempdir().expect("a folder");
        let store = Store::within(cache.path());
        saved(&store, "a");
        let (scratch, second) = store.begin().expect("begun");
        let record = Record { seeds: Vec::new(), boot_ids: vec![("n".to_owned(), "2".to_owned())] };
        second.write(&record).expect("written");
        let kept = store.keep(second, "a").expect("kept");
        assert_eq!(kept.record().expect("whole").boot_ids[0].1, "2");
        drop(scratch);
        assert_eq!(store.find("a").expect("kept").record().expect("whole").boot_ids[0].1, "a");
        assert_eq!(fs::read_dir(&store.folder).expect("there").count(), 1);
    }

    #[test]
    fn a_torn_record_is_no_cluster_and_goes() {
        let cache = tempfile::tempdir().expect("a folder");
        let store = Store::within(cache.path());
        let kept = saved(&store, "a");
        fs::write(kept.folder.join(RECORD), "{").expect("torn");
        assert!(store.find("a").is_none() && !kept.folder.exists());
    }

    #[test]
    fn those_unused_for_the_longest_time_go() {
        let cache = tempfile::tempdir().expect("a folder");
        let store = Store::within(cache.path());
        for key in ["a", "b", "c"] {
            saved(&store, key);
        }
        store.find("a").expect("kept");
        store.let_go(2).expect("let go");
        assert!(store.find("a").is_some() && store.find("c").is_some());
        assert!(store.find("b").is_none());
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_being_filled_stays() {
        let cache = tempfile::tempdir().expect("a folder");
        let store = Store::within(cache.path());
        let (_scratch, young) = store.begin().expect("begun");
        let old = store.folder.join(format!("{UNFINISHED}old"));
        fs::create_dir(&old).expect("made");
        let long_ago = SystemTime::now() - 2 * ABANDONED;
        File::open(&old).and_then(|old| old.set_modified(long_ago)).expect("set");
        store.let_go(KEPT).expect("let go");
        assert!(young.folder.is_dir() && !old.exists());
    }

    #[test]
    fn a_copy_has_all_and_keeps_what_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep")).expect("made");
        fs::write(from.join("deep/key"), "secret").expect("written");
        fs::set_permissions(from.join("deep"), fs::Permissions::from_mode(0o700)).expect("set");
        copy(&from, &to).expect("copied");
        assert_eq!(fs::read_to_string(to.join("deep/key")).expect("there"), "secret");
        let mode = fs::metadata(to.join("deep")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
