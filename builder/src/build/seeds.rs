//! The seeds of a build: read, checked, and sealed with their secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seed::{Problems, SealError, Seed};
use thiserror::Error;

use crate::cluster::secrets::{self, Ensured, SecretsError};
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
    let text = match with_operator(&text, seed, &ensured) {
        None => text,
        Some(with_operator) => {
            let folder = ensured.folder.display();
            let place = address(seed).unwrap_or_else(|| "ADDRESS".to_owned());
            progress.note(&format!(
                "{node} can be asked from afar: nodectl --node {place} --operator {folder} status"
            ));
            with_operator
        }
    };
    let text = seed::sealed(&text, &ensured.secrets)
        .map_err(|source| SeedsError::Seal { path: path.clone(), source })?;
    Ok(SealedSeed { path, node, text })
}

/// The seed with an `[operators]` table that names the operator's certificate of its secrets, as
/// `builder cluster new` writes it: a node that nobody can ask is no use to whoever builds the
/// first one. None if the seed has a table already, which says who may ask and who not, or if
/// something else of the seed takes the port.
fn with_operator(text: &str, seed: &Seed, ensured: &Ensured) -> Option<String> {
    if seed.operators.is_some() {
        return None;
    }
    let gap = if text.ends_with('\n') { "\n" } else { "\n\n" };
    let text = format!(
        "{text}{gap}# Added by the builder: who may use `nodectl` from afar.\n[operators]\n\
         fingerprints = [\"{}\"]\n",
        ensured.operator_fingerprint
    );
    seed::parse("seed", &text).is_ok().then_some(text)
}

/// Where the node is reached: the first address of its own in the list of nodes.
fn address(seed: &Seed) -> Option<String> {
    let node = seed.cluster.node(&seed.node.name)?;
    node.addresses.first().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = include_str!("../../../images/lab/node1.toml");

    fn sealed(text: &str) -> (Seed, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node1.toml");
        fs::write(&path, text).expect("written");
        let sealed = seal_all(&[path], &Progress::new(false)).expect("sealed").remove(0);
        let seed = seed::parse("sealed", &sealed.text).expect("valid");
        let operator = folder.path().join("secrets/lab/operator.pem");
        (seed, fs::read_to_string(operator).expect("made"))
    }

    #[test]
    fn a_seed_without_operators_gets_the_one_of_its_secrets() {
        let (seed, certificate) = sealed(SEED);
        let listed = seed.operators.expect("added").fingerprints;
        assert_eq!(listed.len(), 1);
        assert!(certificate.contains("BEGIN CERTIFICATE"));
        assert_eq!(
            address(&seed::parse("seed", SEED).expect("valid")).as_deref(),
            Some("192.168.77.11")
        );
    }

    #[test]
    fn whom_a_seed_names_stays_alone() {
        let other = "ab".repeat(32);
        let (seed, _) = sealed(&format!("{SEED}[operators]\nfingerprints = [\"{other}\"]\n"));
        let listed = seed.operators.expect("kept").fingerprints;
        assert_eq!(listed.iter().map(ToString::to_string).collect::<Vec<_>>(), [other]);
    }
}
