//! The image that is to be written: raw, or `raw.zst`, which is unpacked first.
//!
//! A compressed image is unpacked into a file without a name before anything else happens. That
//! costs some hundred megabytes of temporary space and a second, and means that a damaged archive
//! is found (zstd carries a checksum) while the device is still untouched.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::gpt;
use thiserror::Error;

use super::facts::{ImageFacts, SeedState};
use crate::image::formats::{self, Format};
use crate::image::identity::{self, IdentityError};
use crate::image::layout::Part;
use crate::image::open::{OpenError, OpenImage};
use crate::image::region::Region;
use crate::progress::Progress;

/// No image of ours is near this; what unpacks to more is a bomb or a mistake.
const UNPACKED_MAX_BYTES: u64 = 64 << 30;
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, Error)]
pub enum SourceError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is a qcow2 image, for virtual machines: build with --format raw, or convert it \
        with `qemu-img convert -O raw`", path.display())]
    Qcow2 { path: PathBuf },
    #[error("{} is no regular file: give an image that was built", path.display())]
    NoFile { path: PathBuf },
    #[error("can't unpack {}: {source}; is the file whole?", path.display())]
    Unpack { path: PathBuf, source: io::Error },
    #[error("no room to unpack {} in {}: {source}; set TMPDIR to a folder with room",
        path.display(), folder.display())]
    Room { path: PathBuf, folder: PathBuf, source: io::Error },
    #[error("{} unpacks to more than {UNPACKED_MAX_BYTES} bytes: that is no image", path.display())]
    Bomb { path: PathBuf },
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
        let fail = |source| SourceError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        let format = formats::detect(&file).map_err(fail)?;
        let file = match format {
            Format::Raw => file,
            Format::Qcow2 => {
                return Err(SourceError::Qcow2 { path: path.to_owned() });
            }
            Format::RawZst => unpack(path, file, progress)?,
        };
        Self::of(open_image(path, file)?, format)
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

fn open_image(path: &Path, file: File) -> Result<OpenImage, OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    let bytes = (&file).seek(SeekFrom::End(0)).map_err(io_error)?;
    let table = gpt::read(&Region::new(&file, 0, bytes))
        .map_err(|source| OpenError::Table { path: path.to_owned(), source })?;
    Ok(OpenImage { path: path.to_owned(), file: Arc::new(file), bytes, table })
}

/// Unpacks into a file that vanishes with the process; zeros become holes again.
fn unpack(path: &Path, file: File, progress: &Progress) -> Result<File, SourceError> {
    let damaged = |source| SourceError::Unpack { path: path.to_owned(), source };
    let no_room =
        |source| SourceError::Room { path: path.to_owned(), folder: env::temp_dir(), source };
    let step = progress.step("unpacking the image");
    let mut decoder = zstd::Decoder::new(file).map_err(damaged)?;
    let unpacked = tempfile::tempfile().map_err(no_room)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut position = 0;
    loop {
        let length = decoder.read(&mut chunk).map_err(damaged)?;
        if length == 0 {
            break;
        }
        let part = &chunk[..length];
        if part.iter().any(|byte| *byte != 0) {
            unpacked.write_all_at(part, position).map_err(no_room)?;
        }
        position += length as u64;
        if position > UNPACKED_MAX_BYTES {
            return Err(SourceError::Bomb { path: path.to_owned() });
        }
    }
    unpacked.set_len(position).map_err(no_room)?;
    step.finish(&crate::progress::readable_bytes(position));
    Ok(unpacked)
}
