//! The STATE partition: the one place where a node remembers anything.
//!
//! ```text
//!  root's disk ─> table (repair, grow) ─> filesystem (make or check) ─> mount, grow ─> folders
//!                                                                     └─> clock, entropy
//! ```
//! What is to be done is decided in `disk::state`, which is pure; here it is carried out. Each step
//! leaves the disk so that power may fail and the next boot goes on: the table changes as
//! `disk::gpt::rewrite` says, a filesystem that was not finished is still marked as unmade, e2fsck
//! and the kernel's resizer can be run again.
//!
//! **If STATE can't be used**, the node does not get an empty one in memory instead. A database
//! node that forgot what it had promised its peer would offer itself as fresh: it could accept a
//! promotion that its last record forbids, or answer with a database of yesterday. The other
//! machine of the site has everything and goes on alone, which is what it is there for. So `/state`
//! stays the empty, read-only folder of the root, whatever wants to keep data finds no folder there
//! and fails with its own reason, and the node says why on its console and in [`STATUS_PATH`], takes its
//! name and addresses, and can be asked. The next boot tries again. Only what e2fsck repairs
//! without being asked (`-p`) is repaired: what goes beyond the journal was not done by a power
//! cut, and a filesystem that is consistent again but misses files is worse for a database than
//! none.
//!
//! **Mount options.** `nosuid`, `nodev`, and `noexec`: nothing that a service writes is run by the
//! node. K3s and the containers' volumes must run programs, so their folders show as mounts of
//! their own with other flags (`execute` in the overlay's data). `errors=remount-ro` stops
//! a filesystem that found itself damaged. `data=ordered` and `commit=5` are the kernel's own
//! defaults, written down because a power cut is judged by them: whoever must not lose the last
//! five seconds syncs, and all of ours do.
//!
//! There is no swap and no trimming while the node runs; `mke2fs` discards the whole partition.

mod clock;
mod device;
mod entropy;
mod filesystem;
mod folders;
mod lost;
pub(crate) mod machine_id;
pub(crate) mod place;
mod program;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use control::Storage;
use disk::AccessFailed;
use disk::gpt::GptError;
use disk::state::{Refusal, StateError};
use seed::manifest::Manifest;
use thiserror::Error;

use crate::node::Node;
use crate::say;
use program::ProgramError;

/// Whether STATE is there, for `nodectl`: `usable`, or `unusable: ` and the reason.
pub(crate) const STATUS_PATH: &str = "/run/edgepair/state";
const USABLE: &str = "usable";
const UNUSABLE: &str = "unusable: ";

/// Why STATE can't be used; the words go to the console.
#[derive(Debug, Error)]
pub(crate) enum StateFault {
    #[error("the disk of the root can't be found: {0}")]
    RootDisk(io::Error),
    #[error("{}: {source}", path.display())]
    Device { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Table { path: PathBuf, source: GptError },
    #[error("{}: {source}", path.display())]
    Plan { path: PathBuf, source: StateError },
    #[error("{}: writing the partition table: {source}", path.display())]
    Write { path: PathBuf, source: AccessFailed },
    #[error("{}: reading the superblock: {source}", path.display())]
    Superblock { path: PathBuf, source: AccessFailed },
    #[error("{}: {source}", path.display())]
    Refused { path: PathBuf, source: Refusal },
    #[error("the kernel does not take the new size of {}: {source}", path.display())]
    Resize { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("e2fsck left {} as it is (exit code {code}): it needs a person", path.display())]
    Unrepaired { path: PathBuf, code: i32 },
    #[error("mke2fs failed on {} (exit code {code})", path.display())]
    Unmade { path: PathBuf, code: i32 },
    #[error("{} can't be mounted: {source}", path.display())]
    Mount { path: PathBuf, source: io::Error },
}

/// What became of STATE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// The boot has not come to it.
    #[default]
    Closed,
    Usable,
    /// Said on the console and in [`STATUS_PATH`].
    Unusable,
    /// It was usable, and the kernel has given it up since.
    Lost,
}

impl State {
    /// Whether whoever keeps data may start.
    pub(crate) fn is_usable(self) -> bool {
        self == Self::Usable
    }

    /// Looks whether it still is what it was.
    pub(crate) fn look_again(&mut self) {
        if self.is_usable() && lost::is_lost() {
            *self = Self::Lost;
            let why = "its disk refused a write, so it is read-only until a restart has checked it";
            say!("STATE is unusable: {why}");
            publish(&format!("{UNUSABLE}{why}"));
        }
    }
}

/// Brings STATE up, with its folders, and takes from it what the node remembers. Also says from
/// where the clock was lifted, if it was.
pub(crate) fn open(manifest: &Manifest) -> (State, Option<&'static str>) {
    // Files made from now on, and what e2fsck thinks of them, depend on a sane clock.
    let floor = clock::lift(manifest.source_date, None);
    match bring_up() {
        Ok(()) => {
            let saved = clock::lift(manifest.source_date, clock::saved());
            entropy::restore();
            folders::make(manifest);
            publish(USABLE);
            (State::Usable, saved.or(floor))
        }
        Err(fault) => {
            say!("STATE is unusable: {fault}");
            say!(
                "nothing that keeps data starts; the node can be asked, and a restart tries again"
            );
            publish(&format!("{UNUSABLE}{fault}"));
            (State::Unusable, floor)
        }
    }
}

fn bring_up() -> Result<(), StateFault> {
    let disk = place::root_disk().map_err(StateFault::RootDisk)?;
    let partition = table::settle(&disk)?;
    filesystem::make_or_check(&disk, &partition)?;
    filesystem::mount(&partition)
}

/// When a run ends: leaves the time for the next one.
pub(crate) fn save_clock(node: &Node) -> Result<(), String> {
    if node.state.is_usable() { clock::save().map_err(|error| error.to_string()) } else { Ok(()) }
}

/// When a run ends: leaves fresh random bytes for the next one.
pub(crate) fn save_entropy(node: &Node) -> Result<(), String> {
    if node.state.is_usable() { entropy::save().map_err(|error| error.to_string()) } else { Ok(()) }
}

/// What [`STATUS_PATH`] says; nothing before it was written. It is in memory, so this never waits.
pub(crate) fn published() -> Option<Storage> {
    told(&fs::read_to_string(STATUS_PATH).ok()?)
}

fn told(text: &str) -> Option<Storage> {
    match text.trim_end() {
        USABLE => Some(Storage { usable: true, because: None }),
        text => {
            let because = text.strip_prefix(UNUSABLE)?.to_owned();
            Some(Storage { usable: false, because: Some(because) })
        }
    }
}

/// A node whose `/run` can't be written to has said so already.
fn publish(status: &str) {
    let path = Path::new(STATUS_PATH);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = made.and_then(|()| fs::write(path, format!("{status}\n"))) {
        say!("{STATUS_PATH}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_is_read_again() {
        assert_eq!(told("usable\n"), Some(Storage { usable: true, because: None }));
        let because = Some("mke2fs failed".to_owned());
        let unusable = Storage { usable: false, because };
        assert_eq!(told("unusable: mke2fs failed\n"), Some(unusable));
        assert_eq!(told(""), None);
        assert_eq!(told("half a wo"), None);
    }
}
