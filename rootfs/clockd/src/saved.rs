//! The floor: a time before which it can't be, known without any clock or network.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sys::durable::{self, DurableError};
use thiserror::Error;

use crate::ntp::{NANOS_PER_SECOND, Nanos};

/// A number of seconds and a line end.
const SAVED_BYTES_MAX: u64 = 32;

/// PID 1 believes a saved time as far as this after the image's, and so do we: no image is in service
/// for longer, and a clock that once ran wild must not come back at every start.
const BELIEVED_SECONDS: u64 = 30 * 365 * 86_400;

/// The node's services read the time too, should they want it.
const SAVED_MODE: u32 = 0o644;

#[derive(Debug, Error)]
pub enum FloorError {
    #[error("{}: {source}; the clock's floor is lower without it", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: not a number of seconds since 1970; delete the file", path.display())]
    Garbled { path: PathBuf },
    #[error("{}: {source}; rebuild the image", path.display())]
    Manifest { path: PathBuf, source: serde_json::Error },
}

/// What of a manifest concerns the time.
#[derive(Deserialize)]
struct ImageDate {
    source_date: u64,
}

/// The floor and what is wrong with its sources.
#[derive(Debug, Default)]
pub struct Floor {
    /// The image's time since 1970; zero if nobody knows it.
    pub image: Nanos,
    /// The floor since 1970.
    pub nanos: Nanos,
    pub errors: Vec<FloorError>,
}

impl Floor {
    /// The later one of the image's date and the time that was saved last. What can't be read is
    /// told and left out: a clock with a lower floor is better than none.
    pub fn load(saved: &Path, manifest: &Path) -> Self {
        let mut floor = Self::default();
        let mut unbelievable = None;
        match image_date(manifest) {
            Ok(seconds) => {
                floor.raise(seconds);
                floor.image = floor.nanos;
                unbelievable = Some(seconds.saturating_add(BELIEVED_SECONDS));
            }
            Err(error) => floor.errors.push(error),
        }
        match read_saved(saved) {
            Ok(seconds) => {
                let believed = |seconds: &u64| unbelievable.is_none_or(|end| *seconds < end);
                floor.raise(seconds.filter(believed).unwrap_or(0));
            }
            Err(error) => floor.errors.push(error),
        }
        floor
    }

    fn raise(&mut self, seconds: u64) {
        let seconds = Nanos::try_from(seconds).unwrap_or(Nanos::MAX);
        self.nanos = self.nanos.max(seconds.saturating_mul(NANOS_PER_SECOND));
    }
}

fn image_date(path: &Path) -> Result<u64, FloorError> {
    let text = fs::read_to_string(path)
        .map_err(|source| FloorError::Read { path: path.to_owned(), source })?;
    let date: ImageDate = serde_json::from_str(&text)
        .map_err(|source| FloorError::Manifest { path: path.to_owned(), source })?;
    Ok(date.source_date)
}

/// The saved time; none on the first start.
fn read_saved(path: &Path) -> Result<Option<u64>, FloorError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(SAVED_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FloorError::Read { path: path.to_owned(), source }),
    }
    let seconds = text.trim_end().parse();
    seconds.map(Some).map_err(|_| FloorError::Garbled { path: path.to_owned() })
}

/// Saves a time since 1970 for the next start.
pub(crate) fn save(path: &Path, wall: Nanos) -> Result<(), DurableError> {
    let seconds = wall.max(0) / NANOS_PER_SECOND;
    durable::write(path, format!("{seconds}\n").as_bytes(), SAVED_MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_image_and_saved_time_is_the_floor() {
        let folder = tempfile::tempdir().expect("a folder");
        let (saved, manifest) = (folder.path().join("clock"), folder.path().join("manifest.json"));
        fs::write(&manifest, r#"{"name": "edge", "source_date": 1000}"#).expect("written");
        let floor = Floor::load(&saved, &manifest);
        assert_eq!(floor.nanos, 1000 * NANOS_PER_SECOND);
        assert!(floor.errors.is_empty(), "a first start is no error");
        let too_late = Nanos::try_from(1000 + BELIEVED_SECONDS).expect("a time");
        for (seconds, expected) in [(999, 1000), (2000, 2000), (too_late, 1000)] {
            save(&saved, seconds * NANOS_PER_SECOND + 999_999_999).expect("saved");
            let floor = Floor::load(&saved, &manifest);
            assert_eq!(floor.nanos, expected * NANOS_PER_SECOND);
            assert_eq!(floor.image, 1000 * NANOS_PER_SECOND);
        }
    }

    #[test]
    fn what_is_garbled_is_told_and_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (saved, manifest) = (folder.path().join("clock"), folder.path().join("manifest.json"));
        fs::write(&manifest, "{}").expect("written");
        for garbled in ["", "-5\n", "12 monkeys", "99999999999999999999999999999999999"] {
            fs::write(&saved, garbled).expect("written");
            let floor = Floor::load(&saved, &manifest);
            let said = floor.errors.iter().map(FloorError::to_string).collect::<String>();
            assert!(floor.nanos == 0 && said.contains("source_date"), "{said}");
            assert!(said.contains("clock: not a number of seconds"), "{said}");
        }
        fs::write(&saved, u64::MAX.to_string()).expect("written");
        assert_eq!(Floor::load(&saved, &manifest).nanos, Nanos::MAX);
    }
}
