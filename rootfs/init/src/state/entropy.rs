//! Random bytes from run to run, so that the first key of a boot need not wait, nor be guessable on
//! a machine that has no other source.
//!
//! Bytes that served once must never serve again: two boots that start from the same state of the
//! generator make the same keys. So the order is: read the file, delete it, have the deletion on
//! the disk, and only then give the bytes to the kernel. Fresh ones are written right after, and
//! again when the run ends. A power cut anywhere leaves no seed or an unused one.
//!
//! A generator that is not ready yields no seed: bytes of unknown worth would be counted as good by
//! the next boot. The copy of a virtual machine's disk copies the seed too; the copy of a running
//! node was never one of ours to begin with, since identities come with the seed file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use seed::manifest::STATE_PATH;
use sys::durable::{self, DurableError};
use sys::entropy::{SEED_BYTES, credit};

use crate::say;

const SEED: &str = "/state/random-seed";
const RANDOM: &str = "/dev/random";

/// Gives the kernel what the last run left, and leaves something for the next one.
pub(super) fn restore() {
    match take(Path::new(SEED), Path::new(STATE_PATH)) {
        Ok(Some(seed)) => {
            let random = OpenOptions::new().write(true).open(RANDOM);
            if let Err(error) = random.and_then(|random| credit(random.as_fd(), &seed)) {
                say!("the kernel does not take the random seed: {error}");
            }
        }
        Ok(None) => {}
        Err(error) => say!("{SEED} is not used: {error}"),
    }
    if let Err(error) = save() {
        say!("{error}");
    }
}

/// Reads a seed and makes sure that nobody will read it again; none if there is no whole one.
fn take(path: &Path, folder: &Path) -> io::Result<Option<[u8; SEED_BYTES]>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    fs::remove_file(path)?;
    File::open(folder)?.sync_all()?;
    Ok(bytes.try_into().ok())
}

/// Leaves fresh bytes for the next run.
pub(super) fn save() -> Result<(), DurableError> {
    let mut seed = [0; SEED_BYTES];
    // Without them the end of the run tries again.
    if getrandom(&mut seed, GetRandomFlags::NONBLOCK) != Ok(SEED_BYTES) {
        return Ok(());
    }
    durable::write(Path::new(SEED), &seed, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_taken_once_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        assert_eq!(take(&path, folder.path()).unwrap(), None);
        fs::write(&path, [7; SEED_BYTES]).unwrap();
        assert_eq!(take(&path, folder.path()).unwrap(), Some([7; SEED_BYTES]));
        assert!(!path.exists());
        fs::write(&path, b"short").unwrap();
        assert_eq!(take(&path, folder.path()).unwrap(), None);
        assert!(!path.exists(), "what is no seed goes, too");
    }
}
