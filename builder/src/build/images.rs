//! One image for each seed: a copy of the base with its SEED partition written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use disk::gpt::{self, GptError};
use serde::Serialize;
use thiserror::Error;

use super::base::Base;
use super::seeds::SealedSeed;
use crate::image::formats::{self, Format};
use crate::image::identity::{self, IdentityError};
use crate::image::layout::Part;
use crate::image::packed::{self, PackedError};
use crate::image::region::Region;
use crate::image::sparse::{self, ImageHasher};
use crate::progress::Progress;
use crate::read::seeds::{SeedState, judge, state};
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
    #[error("{} is an image of {node} of the cluster {there}, and the seed is one of the cluster \
        {ours}: build into another folder (`builder build --out`), or remove it first", path.display())]
    OtherCluster { path: PathBuf, node: String, there: String, ours: String },
    #[error(transparent)]
    Packed(#[from] PackedError),
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
    /// Of the file, whatever its format.
    pub sha256: String,
    pub bytes: u64,
    pub verity_root: String,
}

/// The file name of a node's image; a stand-in is named where nobody can overlook it.
pub fn file_name(definition: &Definition, base: &Base, node: &str, format: Format) -> String {
    let stand_in = if base.record.stand_in { "-STAND-IN" } else { "" };
    format!("{}{stand_in}-{node}.{format}", definition.name)
}

/// Writes an image for each seed into `out`.
pub fn write_all(
    base: &Base,
    definition: &Definition,
    seeds: &[SealedSeed],
    out: &Path,
    format: Format,
    progress: &Progress,
) -> Result<Vec<BuiltImage>, ImagesError> {
    let fail = |source| ImagesError::Io { path: base.path.clone(), source };
    let base_file = File::open(&base.path).map_err(fail)?;
    let size = base_file.metadata().map_err(fail)?.len();
    let region = Region::new(&base_file, 0, size);
    let found = gpt::read(&region)
        .map_err(|source| ImagesError::Table { path: base.path.clone(), source })?;
    let partition = found
        .table
        .find_name(Part::Seed.name())
        .ok_or_else(|| ImagesError::NoSeedPartition { path: base.path.clone() })?;
    // All raw images are the same up to the seed, so that part is hashed once.
    let mut common = ImageHasher::default();
    if format == Format::Raw {
        common.advance(&base_file, partition.offset_bytes()).map_err(fail)?;
    }
    let named = |seed: &SealedSeed| out.join(file_name(definition, base, &seed.node, format));
    // All are looked at before the first is written.
    seeds.iter().try_for_each(|seed| keep_of_other_cluster(&named(seed), seed, progress))?;
    let mut images = Vec::new();
    for seed in seeds {
        let target = named(seed);
        let fail = |source| ImagesError::Io { path: target.clone(), source };
        let unfinished = Unfinished::create_private(&target)?;
        let date = base.record.source_date;
        let mut hasher = common.clone();
        if format == Format::Raw {
            sparse::copy(&base_file, unfinished.file()).map_err(fail)?;
            identity::write(unfinished.file(), partition, &seed.text, date)?;
        } else {
            let step = progress.long_step(&format!("{} as {format}", seed.node));
            // The raw image is on the way only, and vanishes even if this process is killed.
            let raw = tempfile::tempfile_in(out).map_err(fail)?;
            sparse::copy(&base_file, &raw).map_err(fail)?;
            identity::write(&raw, partition, &seed.text, date)?;
            formats::write(&raw, unfinished.file(), format).map_err(fail)?;
            step.finish("");
        }
        let bytes = unfinished.file().metadata().map_err(fail)?.len();
        hasher.advance(unfinished.file(), bytes).map_err(fail)?;
        images.push(BuiltImage {
            seed: seed.path.clone(),
            path: unfinished.finish()?,
            sha256: hasher.finish(),
            bytes,
            verity_root: base.record.verity_root.clone(),
        });
    }
    Ok(images)
}

/// Refuses to put the image of a node into the place of another cluster's: a file's name has the
/// node's name in it and not the cluster's, and each site has a node1.
fn keep_of_other_cluster(
    target: &Path,
    seed: &SealedSeed,
    progress: &Progress,
) -> Result<(), ImagesError> {
    let there = match packed::open(target, progress) {
        Ok((there, _)) => there,
        Err(PackedError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(());
        }
        Err(error @ (PackedError::Io { .. } | PackedError::Room { .. })) => {
            return Err(error.into());
        }
        // What is damaged is nobody's node, and building anew is the mend for it. What is in a qcow2
        // isn't read.
        Err(_) => return Ok(()),
    };
    match (state(&there), judge(&seed.text)) {
        (SeedState::Good { node, cluster: there, .. }, SeedState::Good { cluster: ours, .. })
            if there != ours =>
        {
            Err(ImagesError::OtherCluster { path: target.to_owned(), node, there, ours })
        }
        _ => Ok(()),
    }
}
