//! What a crash left, and what the data is, before anything runs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use failover::Data;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::damage;
use super::discarded;
use super::error::{DriverError, about};
use super::kept;
use super::processes;
use super::settings::{Settings, standby_signal};

/// Between two words about what is left of a former run and can't be killed.
const SWEEP: Duration = Duration::from_secs(10);
/// PostgreSQL's control file; without it nothing starts.
const CONTROL_FILE: &str = "global/pg_control";
const CONTROL_FILE_BYTES: u64 = 8192;

/// Ends what runs in the data folder, clears what was half made, and says what the data is. Comes
/// back only when no process is left: one that waits for a broken disk may still write, and what
/// the data is isn't certain before.
pub(super) fn data(settings: &Settings, say: &dyn Fn(&str)) -> Data {
    let data = settings.data();
    let half_made = [settings.new_data(), settings.clone_data()];
    let folders: Vec<&Path> = half_made.iter().chain([&data]).map(PathBuf::as_path).collect();
    sweep(&folders, |folder| processes::kill_all_in(folder, SWEEP), say);
    // Its number may be another process's by now, which PostgreSQL would take for itself.
    let _none = fs::remove_file(data.join("postmaster.pid"));
    let lock = format!("{}.lock", settings.socket().display());
    let _none = fs::remove_file(lock);
    let _none = fs::remove_file(settings.receiver_ca());
    let _none = fs::remove_dir_all(settings.new_data());
    kept::bound(settings, say);
    // After the swap of a copy, its place holds what was replaced.
    match discarded::keep_replaced(settings, &settings.clone_data(), None) {
        Ok(kept) => {
            if let Some(kept) = kept {
                say(&format!("a copy of the peer's data was interrupted; it replaced {kept}"));
            }
            match damage::keep_replaced(settings, say) {
                Ok(()) => drop(fs::remove_dir_all(settings.clone_data())),
                Err(error) => say(&stays(&error)),
            }
        }
        Err(error) => say(&stays(&error)),
    }
    what_is(&data)
}

fn stays(error: &DriverError) -> String {
    format!("what a copy replaced stays until it can be kept: {error}")
}

/// Kills what works in these folders until nothing does; `kill` says whether a folder is free.
fn sweep(folders: &[&Path], kill: impl Fn(&Path) -> bool, say: &dyn Fn(&str)) {
    for folder in folders {
        while !kill(folder) {
            let folder = folder.display();
            say(&format!(
                "processes in {folder} can't be killed, so nothing begins: is its disk ill?"
            ));
        }
    }
}

/// What a data folder is.
pub(super) fn what_is(data: &Path) -> Data {
    let control = fs::metadata(data.join(CONTROL_FILE));
    let usable = control.is_ok_and(|file| file.len() == CONTROL_FILE_BYTES)
        && data.join("PG_VERSION").is_file();
    match usable {
        false => Data::Missing,
        true if standby_signal(data).exists() => Data::Standby,
        true => Data::Primary,
    }
}

/// Puts complete new data in the place of the old, in one step, and the old where the new was: one
/// of both is always whole and in its place.
pub(crate) fn swap(new: &Path, data: &Path) -> Result<(), DriverError> {
    let folder = data.parent().unwrap_or(data);
    if data.exists() {
        let swapped = renameat_with(CWD, new, CWD, data, RenameFlags::EXCHANGE);
        swapped.map_err(io::Error::from).map_err(about("put new data into", data))?;
    } else {
        fs::rename(new, data).map_err(about("put new data into", data))?;
    }
    sync_folder(folder)
}

/// Makes what happened in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), DriverError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(about("sync", folder))
}

/// Where a restore says that it has made this data, until PostgreSQL first runs in it.
pub(crate) fn restored_mark(data: &Path) -> PathBuf {
    data.join("edgepair.restored")
}

/// Data isn't a restore's any more. Certain when this returns: a rewind that is begun next and cut
/// off leaves a mixture, which must never be taken for whole.
pub(super) fn forget_restored(data: &Path) -> Result<(), DriverError> {
    let mark = restored_mark(data);
    match fs::remove_file(&mark) {
        Ok(()) => sync_folder(data),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(about("remove", &mark)(error)),
    }
}

/// Makes data a standby's.
pub(super) fn make_standby(data: &Path) -> Result<(), DriverError> {
    sys::durable::write(&standby_signal(data), b"", 0o600)?;
    Ok(())
}

/// Forgets what somebody set by SQL: PostgreSQL would read it after our configuration.
pub(super) fn forget_own_settings(data: &Path) -> Result<(), DriverError> {
    let path = data.join("postgresql.auto.conf");
    if fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
        return Ok(());
    }
    sys::durable::write(&path, b"", 0o600)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn nothing_begins_while_a_process_is_left_in_any_folder() {
        let folders = [Path::new("/new"), Path::new("/clone"), Path::new("/data")];
        let (left, said) = (Cell::new(0), RefCell::new(Vec::new()));
        let asked = RefCell::new(Vec::new());
        let kill = |folder: &Path| {
            asked.borrow_mut().push(folder.to_owned());
            left.set(left.get() + 1);
            // Each folder is free at the third look.
            left.get() % 3 == 0
        };
        sweep(&folders, kill, &|line| said.borrow_mut().push(line.to_owned()));
        let expected: Vec<&Path> = folders.iter().flat_map(|folder| [*folder; 3]).collect();
        assert_eq!(*asked.borrow(), expected);
        assert_eq!(said.borrow().len(), 6);
        assert!(said.borrow().iter().any(|line| line.contains("/clone can't be killed")));
    }
}
