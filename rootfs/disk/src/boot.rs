//! What the kernel's command line tells stage 1: which slot to start, and how to trust it.
//!
//! The builder writes this line into the UKI of a slot, so the root is tied to the kernel and, where
//! the UKI is signed, to the signature. Everything that dm-verity needs is on the line: nothing that
//! decides about trust is read from the root partition itself.
//!
//! ```text
//! edgepair.slot=a edgepair.root=<partition GUID> edgepair.verity=<data blocks>:<salt>:<root hash>
//! ```

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::gpt::Guid;
use crate::verity::{self, RootHash};

/// One of the two root partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    A,
    B,
}

/// All that dm-verity needs to check every block that is read. The tree follows the data and its
/// superblock, so where it starts need not be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityParameters {
    /// Filesystem blocks that are covered.
    pub data_blocks: u64,
    /// As long as a hash, so it is written like one.
    pub salt: RootHash,
    pub root_hash: RootHash,
}

/// The part of the command line that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootArguments {
    pub slot: Slot,
    pub root: Guid,
    pub verity: VerityParameters,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootArgumentsError {
    #[error("the kernel's command line has no {0}=…: this kernel was not started from our image")]
    Missing(&'static str),
    #[error("the kernel's command line has {key}={value}, which is not {expected}")]
    Malformed { key: &'static str, value: String, expected: &'static str },
}

const SLOT: &str = "edgepair.slot";
const ROOT: &str = "edgepair.root";
const VERITY: &str = "edgepair.verity";

impl Slot {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// `a` or `b`, as on the command line.
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The name of the slot's partition.
    pub fn partition_name(self) -> &'static str {
        match self {
            Self::A => "ROOT-A",
            Self::B => "ROOT-B",
        }
    }
}

impl FromStr for VerityParameters {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(':').collect();
        let [data_blocks, salt, root_hash] = parts[..] else { return Err(()) };
        let data_blocks = data_blocks.parse().map_err(|_| ())?;
        if data_blocks == 0 || data_blocks > verity::MAX_DATA_BLOCKS {
            return Err(());
        }
        let salt = verity::parse_root_hash(salt).map_err(|_| ())?;
        let root_hash = verity::parse_root_hash(root_hash).map_err(|_| ())?;
        Ok(Self { data_blocks, salt, root_hash })
    }
}

impl fmt::Display for VerityParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data_blocks, salt, root_hash } = self;
        write!(f, "{data_blocks}:{}:{}", verity::to_hex(salt), verity::to_hex(root_hash))
    }
}

impl fmt::Display for BootArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, root, verity } = self;
        write!(f, "{SLOT}={} {ROOT}={root} {VERITY}={verity}", slot.letter())
    }
}

impl FromStr for BootArguments {
    type Err = BootArgumentsError;

    /// Reads a whole command line; words that are not ours are the kernel's.
    fn from_str(command_line: &str) -> Result<Self, BootArgumentsError> {
        let value = |key: &'static str| {
            command_line
                .split_ascii_whitespace()
                .filter_map(|word| word.split_once('='))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value)
                .ok_or(BootArgumentsError::Missing(key))
        };
        let malformed = |key, value: &str, expected| {
            let value = value.to_owned();
            BootArgumentsError::Malformed { key, value, expected }
        };
        let slot = match value(SLOT)? {
            "a" => Slot::A,
            "b" => Slot::B,
            other => return Err(malformed(SLOT, other, "a or b")),
        };
        let root = value(ROOT)?;
        let root = root.parse().map_err(|_| malformed(ROOT, root, "a partition GUID"))?;
        let verity = value(VERITY)?;
        let verity = verity
            .parse()
            .map_err(|()| malformed(VERITY, verity, "<data blocks>:<salt>:<root hash>"))?;
        Ok(Self { slot, root, verity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arguments() -> BootArguments {
        let verity = VerityParameters { data_blocks: 100, salt: [0x0a; 32], root_hash: [0x5f; 32] };
        BootArguments { slot: Slot::B, root: Guid::from_u128(7), verity }
    }

    #[test]
    fn what_the_builder_writes_stage_1_reads() {
        let line = format!("console=ttyS0 quiet {} panic=10", arguments());
        assert_eq!(line.parse(), Ok(arguments()));
    }

    #[test]
    fn each_missing_or_bad_word_is_named() {
        let line = arguments().to_string();
        let error = |line: &str| line.parse::<BootArguments>().expect_err("bad").to_string();
        assert!(error("quiet").contains("no edgepair.slot=…"));
        assert!(error(&line.replace("slot=b", "slot=c")).contains("which is not a or b"));
        assert!(error(&line.replace("verity=100", "verity=0")).contains("<data blocks>"));
        assert!(error(&line.replace("5f", "5g")).contains("edgepair.verity="));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in ".{0,200}") {
            let _either = line.parse::<BootArguments>();
        }
    }
}
