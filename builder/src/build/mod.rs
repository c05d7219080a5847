//! From seeds to images: everything between the command line and the formats.
//!
//! ```text
//!  seeds ─> checked, sealed ┐
//!  definition, overlays ────┤
//!  archive or lock ─────────┼─> key ─> base image (made once, kept in the cache)
//!  node binaries ───────────┘                │ copied, one for each seed
//!                                            └─> + SEED partition ─> out/lab-node1.raw
//! ```

pub mod base;
pub mod images;
pub mod packages;
pub mod roles;
pub mod seeds;
pub mod source;

use std::path::{Path, PathBuf};

use thiserror::Error;

use self::base::{Base, BaseError, Inputs, written};
use self::images::{BuiltImage, ImagesError};
use self::packages::ArchivePackages;
use self::seeds::SeedsError;
use self::source::{Reach, Source, SourceError};
use crate::image::formats::Format;
use crate::k3s::{self, K3sError, K3sFiles, Release, ReleaseError};
use crate::node::{self, NodeError};
use crate::progress::Progress;
use crate::project::{Project, ProjectError};
use crate::root::compose;
use crate::root::definition::{Definition, DefinitionError};
use crate::root::overlay::{self, Overlay, OverlayError};

#[derive(Debug, Error)]
pub enum BuildError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    Seeds(#[from] SeedsError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Images(#[from] ImagesError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    K3s(#[from] K3sError),
    #[error("--k3s has nothing to do: the image {0} has no overlay that carries K3s")]
    NoK3sOverlay(String),
}

/// What to build, and from what.
#[derive(Clone, Debug)]
pub struct Request {
    pub project: Project,
    pub cache: PathBuf,
    /// A name in `images/`, or a path.
    pub image: String,
    pub seeds: Vec<PathBuf>,
    pub out: PathBuf,
    pub reach: Reach,
    /// The release of K3s, or its binary, where it can't be downloaded.
    pub k3s: Option<PathBuf>,
    /// What the files are that it makes.
    pub format: Format,
    /// Assemble even what the cache has.
    pub anew: bool,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    pub images: Vec<BuiltImage>,
    pub base: Base,
}

/// Builds an image for each seed.
pub fn build(request: &Request, progress: &Progress) -> Result<Built, BuildError> {
    let project = &request.project;
    let definition = Definition::load(&project.image_definition(&request.image)?)?;
    let overlays = overlay::load_all(&project.overlays_of(&definition.path), &definition.overlays)?;
    let written = written(&definition, &overlays)?;
    // Seeds first: their mistakes are the commonest, and found at once.
    let seeds = seeds::seal_all(&request.seeds, progress)?;
    for warning in roles::warnings(&definition.name, &overlays, &seeds) {
        progress.warn(&warning);
    }
    let step = progress.long_step("node binaries");
    let binaries = node::build(project, definition.architecture, request.reach.offline)?;
    step.finish("");
    let source = Source::open(&definition, &request.reach, &request.cache, progress)?;
    let given = request.k3s.as_deref();
    let k3s = obtain_k3s(given, &definition, &overlays, &source, progress)?;
    let inputs = Inputs {
        definition: &definition,
        overlays: &overlays,
        written: &written,
        binaries: &binaries,
        source: &source,
        k3s: k3s.as_ref(),
        anew: request.anew,
    };
    let base = inputs.obtain(&request.cache, progress)?;
    let images =
        images::write_all(&base, &definition, &seeds, &request.out, request.format, progress)?;
    Ok(Built { images, base })
}

/// Modules of the kernel of an image that need not be in the image; see [`compose::kernel_modules`].
pub fn kernel_modules(
    request: &Request,
    names: &[&str],
    progress: &Progress,
) -> Result<Vec<(String, Vec<u8>)>, BuildError> {
    let project = &request.project;
    let definition = Definition::load(&project.image_definition(&request.image)?)?;
    let source = Source::open(&definition, &request.reach, &request.cache, progress)?;
    let resolution = source.resolve(&definition, &[])?;
    let packages = ArchivePackages::new(&source.store, &resolution, progress);
    let modules = compose::kernel_modules(&definition, &packages, names);
    Ok(modules.map_err(BaseError::from)?)
}

/// The release that one of the overlays pins, if any does; from `given` where it can't be downloaded.
pub fn obtain_k3s(
    given: Option<&Path>,
    definition: &Definition,
    overlays: &[Overlay],
    source: &Source,
    progress: &Progress,
) -> Result<Option<K3sFiles>, BuildError> {
    let Some(pin) = overlays.iter().find_map(|overlay| overlay.manifest.k3s.as_ref()) else {
        return match given {
            Some(_) => Err(BuildError::NoK3sOverlay(definition.name.clone())),
            None => Ok(None),
        };
    };
    let release = Release::new(&pin.version, &pin.base_url, definition.architecture)?;
    let locked = source.locked_artifacts();
    Ok(Some(k3s::obtain(&source.store, &release, given, locked, progress)?))
}
