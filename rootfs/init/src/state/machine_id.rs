//! The machine's identity: 32 hexadecimal digits that never change.
//!
//! Made once from the kernel's random bytes and kept on STATE; `/etc/machine-id` is a link to the
//! copy in `/run`. Without STATE the node needs one all the same, for this run: it comes from the
//! node's name, so that it is another one than that of its peer and the same in every such run, and
//! is written nowhere.

use std::fs;
use std::io;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use sys::durable::{self, DurableError};
use thiserror::Error;

use super::State;
use crate::say;

const KEPT: &str = "/state/machine-id";
/// What `/etc/machine-id` leads to.
const SHOWN: &str = "/run/edgepair/machine-id";
/// The 128-bit FNV-1a hash: its start and its prime.
const HASH_START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const HASH_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

#[derive(Debug, Error)]
enum MachineIdError {
    #[error("no random bytes for the machine's identity: {0}")]
    Random(io::Error),
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// Shows the machine's identity, which is made first if STATE has none. A full STATE is no reason not
/// to boot: then it is as if there were none.
pub(crate) fn show(state: State, node_name: &str) {
    let id = if state.is_usable() {
        kept().unwrap_or_else(|error| {
            say!("{error}; the machine's identity is one for this run only");
            passing(node_name)
        })
    } else {
        passing(node_name)
    };
    let parent = Path::new(SHOWN).parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = parent.and_then(|()| fs::write(SHOWN, format!("{}\n", to_text(id)))) {
        say!("{SHOWN}: {error}");
    }
}

fn kept() -> Result<u128, MachineIdError> {
    if let Ok(bytes) = fs::read(KEPT) {
        if let Some(id) = parse(&bytes) {
            return Ok(id);
        }
        say!("{KEPT} is no identity; a new one is made");
    }
    let mut bytes = [0; 16];
    // Waits for the generator, which the kernel seeds within a second of its start by itself.
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|errno| MachineIdError::Random(errno.into()))?;
    let id = as_version_4(u128::from_be_bytes(bytes));
    durable::write(Path::new(KEPT), format!("{}\n", to_text(id)).as_bytes(), 0o444)?;
    Ok(id)
}

/// An identity for a run without STATE. No secret is in it: names only have to differ.
fn passing(name: &str) -> u128 {
    let hash = name
        .bytes()
        .fold(HASH_START, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(HASH_PRIME));
    as_version_4(hash)
}

/// Programs that take it for a UUID want to see the marks of a random one.
fn as_version_4(id: u128) -> u128 {
    let version = 0xf << 76;
    let variant = 0b11 << 62;
    id & !version & !variant | 0x4 << 76 | 0b10 << 62
}

fn to_text(id: u128) -> String {
    format!("{id:032x}")
}

fn parse(bytes: &[u8]) -> Option<u128> {
    let text = str::from_utf8(bytes.trim_ascii()).ok()?;
    let proper = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|id| proper && *id != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passing_identities_differ_by_name_and_look_random() {
        assert_ne!(passing("node1"), passing("node2"));
        assert_eq!(passing("node1"), passing("node1"));
        let text = to_text(passing("node1"));
        assert_eq!((text.len(), &text[12..13]), (32, "4"));
        assert!(["8", "9", "a", "b"].contains(&&text[16..17]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in 1..u128::MAX) {
            prop_assert_eq!(parse(format!("{}\n", to_text(id)).as_bytes()), Some(id));
        }

        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _either = parse(&bytes);
        }
    }
}
