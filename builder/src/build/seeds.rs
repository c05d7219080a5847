//! The seeds of a build: read, checked, and sealed with their secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seed::{Problems, SealError, Seed};
use thiserror::Error;

use crate::cluster::secrets::{self, SecretsError};
use crate::progress::Progress;

#[derive(Debug, Error)]
pub enum SeedsError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Problems(Problems),
    #[error("{} and {} are both seeds of node {node:?}: give each node its own name",
        first.display(), second.display())]
    SameNode { first: PathBuf, second: PathBuf, node: String },
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("{}: {source}", path.display())]
    Seal { path: PathBuf, source: SealError },
}

/// A seed that is ready for a SEED partition.
#[derive(Clone, Debug)]
pub struct SealedSeed {
    pub path: PathBuf,
    pub node: String,
    /// With its secrets, so never to be printed.
    pub text: String,
}

/// Reads one seed and checks it.
pub fn read(path: &Path) -> Result<(String, Seed), SeedsError> {
    let text = fs::read_to_string(path)
        .map_err(|source| SeedsError::Read { path: path.to_owned(), source })?;
    let seed = seed::parse(&path.display().to_string(), &text).map_err(SeedsError::Problems)?;
    Ok((text, seed))
}

/// Reads and checks all seeds before any secret is made, then seals each.
pub fn seal_all(paths: &[PathBuf], progress: &Progress) -> Result<Vec<SealedSeed>, SeedsError> {
    let mut seeds: Vec<(PathBuf, String, Seed)> = Vec::new();
    for path in paths {
        let (text, seed) = read(path)?;
        let twin = seeds.iter().find(|(_, _, other)| other.node.name == seed.node.name);
        if let Some((first, _, _)) = twin {
            let node = seed.node.name.to_string();
            return Err(SeedsError::SameNode { first: first.clone(), second: path.clone(), node });
        }
        seeds.push((path.clone(), text, seed));
    }
    seeds.into_iter().map(|(path, text, seed)| seal(path, text, &seed, progress)).collect()
}

/// A seed that has its secrets already stays as it is.
fn seal(
    path: PathBuf,
    text: String,
    seed: &Seed,
    progress: &Progress,
) -> Result<SealedSeed, SeedsError> {
    let node = seed.node.name.to_string();
    if seed.secrets.is_some() {
        return Ok(SealedSeed { path, node, text });
    }
    let folder = secrets::folder_beside(&path, seed);
    let ensured = secrets::ensure(&folder, seed)?;
    if ensured.created {
        progress.note(&format!(
            "made the keys and tokens of cluster {} in {}: keep a copy, and keep it private",
            seed.cluster.name,
            ensured.folder.display()
        ));
    }
    let text = seed::sealed(&text, &ensured.secrets)
        .map_err(|source| SeedsError::Seal { path: path.clone(), source })?;
    Ok(SealedSeed { path, node, text })
}
