//! One image for each seed: a copy of the base with its SEED partition written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use disk::gpt::{self, GptError};
use serde::Serialize;
use thiserror::Error;

use super::base::Base;
use super::seeds::SealedSeed;
use crate::image::identity::{self, IdentityError};
use crate::image::layout::Part;
use crate::image::region::Region;
use crate::image::sparse::{self, ImageHasher};
use crate::root::definition::Definition;
use crate::unfinished::{Unfinished, UnfinishedError};

#[derive(Debug, Error)]
pub enum ImagesError {
    #[error("{}: {source}{}", path.display(), crate::unfinished::mend(source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Table { path: PathBuf, source: GptError },
    #[error("{} has no SEED partition: build the image anew", path.display())]
    NoSeedPartition { path: PathBuf },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Unfinished(#[from] UnfinishedError),
}

/// An image that was made.
#[derive(Clone, Debug, Serialize)]
pub struct BuiltImage {
    pub seed: PathBuf,
    pub path: PathBuf,
    pub sha256: String,
    pub bytes: u64,
    pub verity_root: String,
}

/// The file name of a node's image; a stand-in is named where nobody can overlook it.
pub fn file_name(definition: &Definition, base: &Base, node: &str) -> String {
    let stand_in = if base.record.stand_in {
        "-STAND-IN"
    } else {
        ""
    };
    format!("{}{stand_in}-{node}.raw", definition.name)
}

/// Writes an image for each seed into `out`.
pub fn write_all(
    base: &Base,
    definition: &Definition,
    seeds: &[SealedSeed],
    out: &Path,
) -> Result<Vec<BuiltImage>, ImagesError> {
    let fail = |source| ImagesError::Io {
        path: base.path.clone(),
        source,
    };
    let base_file = File::open(&base.path).map_err(fail)?;
    let size = base_file.metadata().map_err(fail)?.len();
    let region = Region::new(&base_file, 0, size);
    let found = gpt::read(&region).map_err(|source| ImagesError::Table {
        path: base.path.clone(),
        source,
    })?;
    let partition =
        found
            .table
            .find_name(Part::Seed.name())
            .ok_or_else(|| ImagesError::NoSeedPartition {
                path: base.path.clone(),
            })?;
    // All images are the same up to the seed, so that part is hashed once.
    let mut common = ImageHasher::default();
    common
        .advance(&base_file, partition.offset_bytes())
        .map_err(fail)?;

    let mut images = Vec::new();
    for seed in seeds {
        let target = out.join(file_name(definition, base, &seed.node));
        let fail = |source| ImagesError::Io {
            path: target.clone(),
            source,
        };
        let unfinished = Unfinished::create(&target)?;
        sparse::copy(&base_file, unfinished.file()).map_err(fail)?;
        identity::write(
            unfinished.file(),
            partition,
            &seed.text,
            base.record.source_date,
        )?;
        let mut hasher = common.clone();
        hasher.advance(unfinished.file(), size).map_err(fail)?;
        images.push(BuiltImage {
            seed: seed.path.clone(),
            path: unfinished.finish()?,
            sha256: hasher.finish(),
            bytes: size,
            verity_root: base.record.verity_root.clone(),
        });
    }
    Ok(images)
}
