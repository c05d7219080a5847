//! The SEED partition: what makes a copy of an image one particular node.

use std::fs::File;

use disk::fat::{self, FormatError, NewFile, ReadError, Timestamp, Volume};
use disk::gpt::Partition;
use thiserror::Error;

use super::region::Region;

/// The one file that matters on the partition.
pub const SEED_FILE: &str = "seed.toml";
const LABEL: &str = "SEED";

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("the seed does not fit: {0}")]
    Format(#[from] FormatError),
    #[error("the SEED partition can't be read: {0}")]
    Read(#[from] ReadError),
    #[error("the seed on the SEED partition is no UTF-8 text")]
    NotText,
}

/// Formats the partition anew with one seed. `time` is the date of the image, not today's, so that
/// the same seed gives the same bytes.
pub fn write(
    file: &File,
    partition: &Partition,
    seed: &str,
    time: u64,
) -> Result<(), IdentityError> {
    let volume = volume(partition, seed, time)?;
    let mut region = Region::new(file, partition.offset_bytes(), partition.size_bytes());
    disk::WriteAt::write_all_at(&mut region, 0, &volume).map_err(FormatError::from)?;
    Ok(())
}

/// All bytes of the partition with this seed. The whole partition is to be written, so that no byte
/// of an older seed with its keys is left.
pub fn volume(partition: &Partition, seed: &str, time: u64) -> Result<Vec<u8>, IdentityError> {
    let spec = fat::Spec {
        size_bytes: partition.size_bytes(),
        serial: u32::from_le_bytes(first_four(&partition.guid.bytes())),
        label: LABEL,
        time: Timestamp::from_unix(time),
    };
    let content = seed.as_bytes().to_vec();
    let files = [NewFile { path: SEED_FILE, content: &content }];
    Ok(fat::format_to_vec(&spec, &files)?)
}

/// The seed that an image has; none if the partition is empty or was never formatted.
pub fn read(file: &File, partition: &Partition) -> Result<Option<String>, IdentityError> {
    let region = Region::new(file, partition.offset_bytes(), partition.size_bytes());
    let volume = match Volume::open(region) {
        Ok(volume) => volume,
        Err(ReadError::NotFat(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match volume.read_file(SEED_FILE, seed::MAX_SEED_BYTES as u64) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| IdentityError::NotText),
        Err(ReadError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn first_four(bytes: &[u8; 16]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}
