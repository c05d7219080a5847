//! A restore: from the repository into a folder beside, recovered there, and then swapped in.
//!
//! ```text
//!  keeper stopped? ─no─> refused
//!        │ yes
//!  pgbackrest restore ──> restored/ ──> postgres --single, to the end of recovery
//!                                               │
//!              restored/ ──> before-restore/,  before-restore/ <──> data in one step
//! ```
//!
//! PostgreSQL recovers in its single-user mode: one process that replays what was archived, begins
//! a new timeline, and ends by itself with a clean shutdown. So nothing has to be waited for,
//! nobody can log in meanwhile, and what the keeper finds is an ordinary primary's data. Whether it
//! may serve is the keeper's and the operator's business, as ever.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use ::control::RestoreTo;

use super::config::Config;
use super::error::BackupError;
use super::say;
use super::shared::Shared;
use super::tool;
use super::worker::{Role, role};
use crate::postgres::{boot, controldata, damage, processes};

/// Settings by which pgBackRest steers the recovery; they must not outlive it.
const RECOVERY_SETTINGS: [&str; 2] = ["restore_command", "recovery_target"];
/// Where PostgreSQL keeps settings that override its configuration.
const AUTO_CONF: &str = "postgresql.auto.conf";

/// Brings the data back; the old data is kept beside it.
pub(super) fn run(config: &Config, shared: &Shared, to: &RestoreTo) -> Result<(), BackupError> {
    if is_in_use(config) {
        return Err(refused(
            "pgkeeper runs, or a process works in the data: `nodectl stop pgkeeper` on both nodes first",
        ));
    }
    let restored = restored(config);
    remove(&restored).map_err(wrong(config, &restored))?;
    let done = make(config, shared, to, &restored).and_then(|()| swap(config, &restored));
    match &done {
        Ok(()) => tell_of_no_damage(config),
        // The next run of the service finds it, says so, and deletes it.
        Err(BackupError::Ending(_)) => {}
        // It has the size of the database, and nobody will use it.
        Err(_) => clear(config),
    }
    done
}

/// What the keeper tells of damaged pages was about the data that went.
fn tell_of_no_damage(config: &Config) {
    let folder = config.data.parent().unwrap_or(&config.data);
    if let Err(error) = damage::no_longer_tell(folder) {
        say(&format!("the keeper may tell of damaged pages, which are no more: {error}"));
    }
}

/// Whether an earlier run of the service ended in the middle of a restore.
pub(super) fn was_interrupted(config: &Config) -> bool {
    restored(config).exists()
}

/// Deletes what a restore has made that failed or was interrupted.
pub(super) fn clear(config: &Config) {
    let restored = restored(config);
    if let Err(error) = remove(&restored) {
        say(&format!("a restore that failed is still in {}: {error}", restored.display()));
    }
}

fn restored(config: &Config) -> PathBuf {
    config.data.with_file_name("restored")
}

fn before(config: &Config) -> PathBuf {
    config.data.with_file_name("before-restore")
}

fn refused(why: &str) -> BackupError {
    BackupError::Failed { what: "the restore", why: why.to_owned() }
}

/// An error with this path, before anything has happened to the data.
fn wrong(config: &Config, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let (path, kept) = (path.to_owned(), config.data.clone());
    move |source| BackupError::Move { path, kept, source }
}

/// Makes the data of then, complete.
fn make(
    config: &Config,
    shared: &Shared,
    to: &RestoreTo,
    restored: &Path,
) -> Result<(), BackupError> {
    fs::DirBuilder::new().mode(0o700).create(restored).map_err(wrong(config, restored))?;
    say("a restore begins");
    tool::run(fetch(config, restored, to), "the restore", shared)?;
    let told = tool::run(control_data(config, restored), "pg_controldata", shared)?;
    tool::run(recover(config, restored, &told), "the recovery", shared)?;
    let settings = restored.join(AUTO_CONF);
    forget_recovery(&settings).map_err(wrong(config, &settings))?;
    // What a rewind left half done is no concern of this data's.
    let mark = boot::restored_mark(restored);
    let marked = sys::durable::write(&mark, b"", 0o600).map_err(io::Error::other);
    marked.map_err(wrong(config, &mark))
}

fn still_unused(config: &Config) -> Result<(), BackupError> {
    if is_in_use(config) {
        return Err(refused("pgkeeper was started meanwhile: stop it, and restore again"));
    }
    Ok(())
}

/// A keeper that can't be asked, for whatever reason, may still have a PostgreSQL.
fn is_in_use(config: &Config) -> bool {
    role(config) != Role::Absent || !processes::working_in(&config.data).is_empty()
}

/// pgBackRest's part.
fn fetch(config: &Config, restored: &Path, to: &RestoreTo) -> Command {
    let mut command = tool::pgbackrest(config);
    command.arg(format!("--pg1-path={}", restored.display()));
    match to {
        RestoreTo::Latest => command.arg("--type=default"),
        RestoreTo::Time { unix_ms } => {
            let target = format!("--target={}", moment(*unix_ms));
            command.args(["--type=time", "--target-action=promote", &target])
        }
        RestoreTo::Backup { label } => {
            let set = format!("--set={label}");
            command.args(["--type=immediate", "--target-action=promote", &set])
        }
    };
    command.arg("restore");
    command
}

fn control_data(config: &Config, restored: &Path) -> Command {
    let mut command = Command::new(config.programs.join("pg_controldata"));
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").arg(restored);
    command
}

/// The settings that the data was written with. With PostgreSQL's own the recovery would log the
/// change, and no standby with the site's settings could replay it.
fn own_settings(told: &str) -> Vec<String> {
    controldata::least(told).iter().map(|own| format!("{}={}", own.name, own.value)).collect()
}

/// PostgreSQL's part. Commits are archived by the keeper's PostgreSQL; with `archive_mode` the new
/// timeline's history is marked for that.
fn recover(config: &Config, restored: &Path, told: &str) -> Command {
    let mut command = Command::new(config.programs.join("postgres"));
    command.env_clear().env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
    command.arg("--single").arg("-D").arg(restored);
    for setting in
        ["archive_mode=on", "archive_command=false", "hot_standby=off", "ssl=off", "fsync=on"]
    {
        command.args(["-c", setting]);
    }
    for setting in own_settings(told) {
        command.args(["-c", &setting]);
    }
    command.arg("template1");
    command
}

/// `2026-11-20 11:59:30.000+00`, as PostgreSQL reads a moment.
fn moment(unix_ms: u64) -> String {
    let (seconds, milli) = (unix_ms / 1000, unix_ms % 1000);
    // PostgreSQL reads seconds since 1970 only as a function's argument, so the date is worked out,
    // after Howard Hinnant's `civil_from_days`.
    let shifted = (seconds / 86_400).saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day % 3600 / 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}+00")
}

/// Takes the recovery's settings out of the file; others stay.
fn forget_recovery(path: &Path) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let steers = |line: &&str| RECOVERY_SETTINGS.iter().any(|name| line.trim().starts_with(name));
    let kept: String =
        text.lines().filter(|line| !steers(line)).map(|line| format!("{line}\n")).collect();
    sys::durable::write(path, kept.as_bytes(), 0o600).map_err(io::Error::other)
}

/// The restored data takes the name, and what had it goes beside. It gets the other name first, so
/// that one step exchanges the two: wherever the power goes, there is data, and never is the old data
/// under the name of what is deleted.
fn swap(config: &Config, restored: &Path) -> Result<(), BackupError> {
    let (data, before) = (&config.data, before(config));
    // The restore took its time, and the removal takes some: the keeper may have been started.
    still_unused(config)?;
    remove(&before).map_err(wrong(config, &before))?;
    still_unused(config)?;
    fs::rename(restored, &before).map_err(wrong(config, restored))?;
    let is_at = |path: &Path| fs::metadata(path).ok().map(|folder| (folder.dev(), folder.ino()));
    let made = is_at(&before);
    boot::swap(&before, data).map_err(|source| {
        if is_at(data) == made {
            // It is exchanged, but a power cut may bring back how it was.
            return BackupError::Swap { kept: before.clone(), source };
        }
        let _stays = fs::rename(&before, restored);
        BackupError::Swap { kept: data.clone(), source }
    })
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    /// A node with its data in `data`, and without a keeper.
    fn config(folder: &Path) -> Config {
        let text = format!(
            "target = 't'\nevery_seconds = 1\nkeep = 2\nsettings = '/s'\nstanza = 's'\nprograms = '/p'\n\
             data = '{0}/data'\nkeeper_socket = '{0}/keeper.sock'\n",
            folder.display()
        );
        Config::parse(&text).unwrap()
    }

    #[test]
    fn moments_are_as_postgresql_reads_them() {
        assert_eq!(moment(0), "1970-01-01 00:00:00.000+00");
        assert_eq!(moment(1_795_176_000_123), "2026-11-20 12:00:00.123+00");
        assert_eq!(moment(1_709_164_800_000), "2024-02-29 00:00:00.000+00");
    }

    #[test]
    fn the_recovery_takes_the_settings_that_the_data_was_written_with() {
        let told = "wal_level setting:                    replica\n\
                    max_connections setting:              40\n\
                    max_locks_per_xact setting:           64\n\
                    max_prepared_xacts setting:           none\n";
        assert_eq!(own_settings(told), ["max_connections=40", "max_locks_per_transaction=64"]);
        assert_eq!(own_settings(""), [""; 0]);
    }

    #[test]
    fn a_restore_leaves_no_settings_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(AUTO_CONF);
        assert!(forget_recovery(&path).is_ok());
        let text = "work_mem = '8MB'\nrestore_command = 'x'\nrecovery_target_time = 'y'\n";
        fs::write(&path, text).unwrap();
        forget_recovery(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "work_mem = '8MB'\n");
    }

    #[test]
    fn data_that_somebody_works_in_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let config = config(folder.path());
        assert!(!is_in_use(&config));
        let mut works = Command::new("sleep").arg("600").current_dir(&data).spawn().unwrap();
        assert!(is_in_use(&config));
        works.kill().unwrap();
        works.wait().unwrap();
        assert!(!is_in_use(&config));
    }

    #[test]
    fn a_swap_that_fails_puts_the_old_data_back() {
        let folder = tempfile::tempdir().unwrap();
        let (data, restored) = (folder.path().join("data"), folder.path().join("restored"));
        let config = config(folder.path());
        let before = folder.path().join("before-restore");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("old"), "").unwrap();
        assert!(matches!(swap(&config, &restored), Err(BackupError::Move { .. })));
        assert!(data.join("old").exists());
        fs::create_dir(&restored).unwrap();
        fs::write(restored.join("new"), "").unwrap();
        swap(&config, &restored).unwrap();
        assert!(data.join("new").exists() && before.join("old").exists() && !restored.exists());
    }

    #[test]
    fn a_keeper_that_was_started_meanwhile_keeps_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let config = config(folder.path());
        for made in [&data, &restored(&config)] {
            fs::create_dir(made).unwrap();
        }
        fs::write(data.join("old"), "").unwrap();
        fs::create_dir(before(&config)).unwrap();
        let mut works = Command::new("sleep").arg("600").current_dir(&data).spawn().unwrap();
        assert!(swap(&config, &restored(&config)).is_err());
        works.kill().unwrap();
        works.wait().unwrap();
        assert!(data.join("old").exists() && before(&config).exists());
        swap(&config, &restored(&config)).unwrap();
        assert!(!data.join("old").exists());
    }

    /// Somebody who looks all the time sees what a power cut at that moment would leave.
    #[test]
    fn there_is_data_at_every_moment_of_a_swap() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let config = config(folder.path());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let looks = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    assert!(data.exists());
                }
            });
            for _ in 0..200 {
                fs::create_dir(restored(&config)).unwrap();
                swap(&config, &restored(&config)).unwrap();
            }
            over.store(true, Ordering::SeqCst);
            looks.join().unwrap();
        });
    }
}
