//! The image that is to be written: raw, or `raw.zst`, which is unpacked first, so that damage in it
//! is found while the device is still untouched.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::facts::{ImageFacts, SeedState};
use crate::image::formats::Format;
use crate::image::identity::{self, IdentityError};
use crate::image::layout::Part;
use crate::image::open::{OpenError, OpenImage};
use crate::image::packed::{self, PackedError};
use crate::progress::Progress;

#[derive(Debug, Error)]
pub enum SourceError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no regular file: give an image that was built", path.display())]
    NoFile { path: PathBuf },
    #[error(transparent)]
    Packed(#[from] PackedError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}: no slot has a kernel: build the image anew", path.display())]
    NoSlot { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Identity { path: PathBuf, source: IdentityError },
}

/// An image, open, with what its manifest says.
#[derive(Debug)]
pub struct Source {
    pub image: OpenImage,
    /// Of the image definition.
    pub name: String,
    pub version: String,
    /// The newest seed that its node agent reads.
    pub seed_format: u32,
    /// The date of everything in it.
    pub date: u64,
    /// How the file holds it.
    pub format: Format,
    debug: bool,
    stand_in: bool,
}

impl Source {
    /// Opens an image file, or a device that one was written to.
    pub fn open(path: &Path, progress: &Progress) -> Result<Self, SourceError> {
        let (image, format) = packed::open(path, progress)?;
        Self::of(image, format)
    }

    /// Opens what is to be flashed, which must be a file.
    pub fn open_file(path: &Path, progress: &Progress) -> Result<Self, SourceError> {
        let fail = |source| SourceError::Io { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(fail)?.is_file() {
            return Err(SourceError::NoFile { path: path.to_owned() });
        }
        Self::open(path, progress)
    }

    fn of(image: OpenImage, format: Format) -> Result<Self, SourceError> {
        let mut manifests = Vec::new();
        for slot in image.slots()? {
            let root = image.root(&image.kernel(slot)?)?;
            manifests.push(image.manifest(&root)?);
        }
        let Some(first) = manifests.first() else {
            return Err(SourceError::NoSlot { path: image.path });
        };
        Ok(Self {
            name: first.name.clone(),
            version: first.version.clone(),
            // After an update either slot may boot, and both must read the seed.
            seed_format: manifests.iter().map(|it| it.seed_format).min().unwrap_or_default(),
            date: first.source_date,
            debug: manifests.iter().any(|manifest| manifest.debug),
            stand_in: manifests.iter().any(|manifest| manifest.stand_in),
            format,
            image,
        })
    }

    /// The text on the SEED partition.
    pub fn seed_text(&self) -> Result<Option<String>, SourceError> {
        let partition = self.image.partition(Part::Seed)?;
        identity::read(&self.image.file, partition)
            .map_err(|source| SourceError::Identity { path: self.image.path.clone(), source })
    }

    /// What the decision to write it depends on.
    pub fn facts(&self) -> Result<ImageFacts, SourceError> {
        let seed = match self.seed_text()? {
            None => SeedState::Empty,
            Some(text) => match seed::parse("the image's seed", &text) {
                Ok(seed) => SeedState::Node {
                    node: seed.node.name.to_string(),
                    cluster: seed.cluster.name.to_string(),
                },
                Err(_) => SeedState::Bad,
            },
        };
        let Self { image, debug, stand_in, .. } = self;
        Ok(ImageFacts { bytes: image.bytes, debug: *debug, stand_in: *stand_in, seed })
    }
}
