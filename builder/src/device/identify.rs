//! Whose image or device it is, and making it another node's.
//!
//! The SEED volume is a few mebibytes: it is formatted in memory, written whole, synced, read back
//! and compared. A power cut in the middle leaves a node without a readable seed, which says so on
//! its console and waits for one; it never runs with a mixture of two.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Advice, fadvise};
use seed::{Problems, Seed};
use thiserror::Error;

use super::source::{Source, SourceError};
use super::target::Target;
use crate::image::formats::Format;
use crate::image::identity::{self, IdentityError};
use crate::image::layout::Part;
use crate::image::open::OpenError;

#[derive(Debug, Error)]
pub enum IdentifyError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{} is compressed, so its seed can't be changed: unpack it (`zstd -d`), or build the \
        image anew with the other seed", path.display())]
    Compressed { path: PathBuf },
    #[error("the seed has format {seed}, and the image in {} reads {image} at most: build the \
        image anew, or write the seed in format {image}", path.display())]
    TooNew { path: PathBuf, seed: u32, image: u32 },
    #[error("{}: {source}", path.display())]
    Identity { path: PathBuf, source: IdentityError },
    #[error("{}: the seed was not written: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: the seed that was read back is not what was written: the device is failing",
        path.display())]
    Differs { path: PathBuf },
}

/// The seed of an image.
#[derive(Debug)]
pub struct Identity {
    /// As it lies there, with its secrets.
    pub text: String,
    pub seed: Result<Box<Seed>, Problems>,
}

/// The seed that an image has, if it has one.
pub fn identify(source: &Source) -> Result<Option<Identity>, IdentifyError> {
    let name = source.image.path.display().to_string();
    let identity = source.seed_text()?.map(|text| {
        let seed = seed::parse(&name, &text).map(Box::new);
        Identity { text, seed }
    });
    Ok(identity)
}

/// Gives the image in `target`, which `source` has open for reading, another seed; `text` is
/// sealed.
pub fn replace(
    source: &Source,
    target: &Target,
    format: u32,
    text: &str,
) -> Result<(), IdentifyError> {
    let path = || target.path.clone();
    if source.format != Format::Raw {
        return Err(IdentifyError::Compressed { path: path() });
    }
    if format > source.seed_format {
        let image = source.seed_format;
        return Err(IdentifyError::TooNew { path: path(), seed: format, image });
    }
    let partition = source.image.partition(Part::Seed)?;
    let volume = identity::volume(partition, text, source.date)
        .map_err(|source| IdentifyError::Identity { path: path(), source })?;
    let io_error = |source| IdentifyError::Io { path: path(), source };
    let file = target.file();
    file.write_all_at(&volume, partition.offset_bytes()).map_err(io_error)?;
    file.sync_all().map_err(io_error)?;
    fadvise(file, 0, None, Advice::DontNeed).map_err(|errno| io_error(errno.into()))?;
    let mut found = vec![0; volume.len()];
    file.read_exact_at(&mut found, partition.offset_bytes()).map_err(io_error)?;
    if found == volume { Ok(()) } else { Err(IdentifyError::Differs { path: path() }) }
}
