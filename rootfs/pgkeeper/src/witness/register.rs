//! A register on a disk: read once, written before every answer that changes it.
//!
//! ```text
//!  open:  read ──missing──> refused: `init` makes it, once
//!              ──damaged, of another cluster──> refused: somebody must look
//!              ──sound──> written again, so that what was read is surely on the disk
//!  ask:   the register after the question = the one before ──> answered
//!                                          ≠ the one before ──> written, then answered
//!              ──not written──> refused; nobody knows which of the two the disk holds
//!  after that, at each question: the one before, which is all that was ever answered, written again
//!              ──not written──> refused   ──written──> asked as ever
//! ```

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use failover::{Answer, Ask, REGISTER_BYTES, Register};
use thiserror::Error;

/// Only the witness's user may read or write it.
const MODE: u32 = 0o600;

/// Why a register isn't served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// It was never made, or it was lost.
    #[error(
        "there is no register {place}: if the witness never served this cluster, make it with \
         `pgkeeper witness init`; if it did, find out why the file is gone first"
    )]
    Missing {
        /// Where it should be.
        place: String,
    },
    /// It was made on this node, and is gone.
    #[error(
        "the register {place} was made here ({mark} says so) and is gone: find out why, for it may \
         have held a grant; then flash this node anew, which makes an empty one that the pair fills \
         when it is in sync"
    )]
    Lost {
        /// Where it should be.
        place: String,
        /// What remembers it.
        mark: String,
    },
    /// Its bytes aren't a register.
    #[error(
        "the register {place} is damaged: check the disk; then move the file away and make a new \
         one with `pgkeeper witness init`, which the pair fills when it is in sync"
    )]
    Damaged {
        /// Where it is.
        place: String,
    },
    /// It belongs to another cluster.
    #[error("the register {place} is another cluster's: move it back to where it came from")]
    Foreign {
        /// Where it is.
        place: String,
    },
    /// It can't be read.
    #[error("the register {place} can't be read: {why}")]
    Unreadable {
        /// Where it is.
        place: String,
        /// What the system says.
        why: String,
    },
    /// It couldn't be written.
    #[error(
        "the register {place} could not be written ({why}): check the disk; it is tried again at the \
         next question"
    )]
    Unwritten {
        /// Where it is.
        place: String,
        /// What the system says.
        why: String,
    },
    /// `init` found one.
    #[error("there is a register {place} already: a second one would forget what is in it")]
    Exists {
        /// Where it is.
        place: String,
    },
}

/// Where one register is kept.
pub trait Disk {
    /// What is there; none if there is nothing.
    fn load(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Puts this there, all or nothing; durable when it returns without an error.
    fn store(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// Its name in messages.
    fn place(&self) -> String;
}

/// A file.
#[derive(Clone, Debug)]
pub struct FileDisk {
    path: PathBuf,
}

impl FileDisk {
    /// The file of this path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Disk for FileDisk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        let file = match fs::File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // One byte more than a register shows that it is none.
        let limit = u64::try_from(REGISTER_BYTES + 1).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), String> {
        sys::durable::write(&self.path, bytes, MODE).map_err(|error| error.to_string())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// A register that is being served.
#[derive(Debug)]
pub struct Kept<D> {
    disk: D,
    /// What was last answered, or may have been.
    register: Register,
    /// The disk may hold something newer, which nobody was told.
    unsure: bool,
}

impl<D: Disk> Kept<D> {
    /// Makes an empty register where there is none; `incarnation` is random.
    pub fn init(mut disk: D, cluster: u64, incarnation: u64) -> Result<Self, RegisterError> {
        let place = disk.place();
        match disk.load() {
            Ok(None) => {}
            Ok(Some(_)) => return Err(RegisterError::Exists { place }),
            Err(error) => return Err(RegisterError::Unreadable { place, why: error.to_string() }),
        }
        let register = Register::empty(cluster, incarnation);
        store(&mut disk, &register)?;
        Ok(Self { disk, register, unsure: false })
    }

    /// Takes up the register that is there.
    pub fn open(mut disk: D, cluster: u64) -> Result<Self, RegisterError> {
        let place = disk.place();
        let loaded = match disk.load() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(RegisterError::Missing { place }),
            Err(error) => return Err(RegisterError::Unreadable { place, why: error.to_string() }),
        };
        let Some(register) = Register::decode(&loaded) else {
            return Err(RegisterError::Damaged { place });
        };
        if register.cluster != cluster {
            return Err(RegisterError::Foreign { place });
        }
        // What was read may be in the kernel's memory only, if a former write was not synced.
        store(&mut disk, &register)?;
        Ok(Self { disk, register, unsure: false })
    }

    /// Answers a question, once what the answer says is on the disk.
    pub fn ask(&mut self, ask: &Ask) -> Result<Answer, RegisterError> {
        if self.unsure {
            // An answer from memory would be forgotten if the witness started with what the disk may
            // hold.
            store(&mut self.disk, &self.register)?;
            self.unsure = false;
        }
        let mut next = self.register;
        let answer = next.ask(ask);
        if next != self.register {
            self.unsure = true;
            store(&mut self.disk, &next)?;
            self.unsure = false;
            self.register = next;
        }
        Ok(answer)
    }

    /// What is in it.
    pub const fn register(&self) -> Register {
        self.register
    }
}

fn store(disk: &mut impl Disk, register: &Register) -> Result<(), RegisterError> {
    let stored = disk.store(&register.encode());
    stored.map_err(|why| RegisterError::Unwritten { place: disk.place(), why })
}

#[cfg(test)]
mod tests;
