//! `builder cluster new`: writes the seeds of a site and makes its secrets.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use seed::Problems;

use super::plan::{Plan, plan};
use super::private::{Existing, PrivateError, make_folder, write_whole};
use super::secrets::{self, SecretsError};
use super::site::MAX_FILE_BYTES;

/// Stands for the operator's fingerprint until the certificate is made, which needs a cluster file
/// without mistakes.
const UNKNOWN_FINGERPRINT: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// Why a site was not made.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The cluster file can't be read.
    #[error("{}: {source}: give the path of a cluster file, such as one of images/clusters", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The cluster file has mistakes.
    #[error("{0}")]
    Invalid(Problems),
    /// A seed is there already.
    #[error(
        "{} exists and is not overwritten: give another folder with -o, or remove the old seeds \
         (secrets/ may stay, and is then used again)",
        path.display()
    )]
    Exists { path: PathBuf },
    /// A file or folder can't be written.
    #[error(transparent)]
    Write(#[from] PrivateError),
    /// The secrets can't be made.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// Given secrets don't fit their seed.
    #[error("the secrets of node \"{node}\" don't fit its seed: {source}\nmend: correct {}", path.display())]
    Unfit { node: String, path: PathBuf, source: Box<seed::SealError> },
}

/// A site that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The seeds, in the order of the cluster file.
    pub seeds: Vec<PathBuf>,
    /// The folder with the secrets.
    pub secrets: PathBuf,
    /// Whether the secrets are new; else those that were there are used again.
    pub new_secrets: bool,
    /// Fingerprint of the operator's certificate, which all seeds list.
    pub operator_fingerprint: String,
}

/// Turns a cluster file into one seed for each node, and a folder of secrets beside them.
pub fn create(file: &Path, out: &Path) -> Result<Created, ClusterError> {
    let text = read(file)?;
    let name = file.display().to_string();
    let draft = plan(&name, &text, UNKNOWN_FINGERPRINT).map_err(ClusterError::Invalid)?;
    let seeds: Vec<PathBuf> =
        draft.seeds.iter().map(|planned| out.join(format!("{}.toml", planned.name))).collect();
    for path in &seeds {
        if path.symlink_metadata().is_ok() {
            return Err(ClusterError::Exists { path: path.clone() });
        }
    }
    if out.symlink_metadata().is_err() {
        make_folder(out)?;
    }
    let secrets = out.join(secrets::FOLDER).join(&draft.cluster);
    let (fingerprint, new_secrets) = secrets::prepare(&secrets, &draft)?;
    let plan = plan(&name, &text, &fingerprint).map_err(ClusterError::Invalid)?;
    for planned in &plan.seeds {
        let ensured = secrets::ensure(&secrets, &planned.seed)?;
        seed::sealed(&planned.text, &ensured.secrets).map_err(|source| ClusterError::Unfit {
            node: planned.name.clone(),
            path: secrets.join(secrets::TOKENS),
            source: Box::new(source),
        })?;
    }
    write_all(&plan, &seeds)?;
    Ok(Created { seeds, secrets, new_secrets, operator_fingerprint: fingerprint })
}

fn read(file: &Path) -> Result<String, ClusterError> {
    let wrap = |source| ClusterError::Read { path: file.to_owned(), source };
    let mut text = String::new();
    // One byte more than allowed tells a file that is too large from one that just fits.
    fs::File::open(file)
        .map_err(wrap)?
        .take(MAX_FILE_BYTES as u64 + 1)
        .read_to_string(&mut text)
        .map_err(wrap)?;
    Ok(text)
}

/// Writes all seeds; if one fails, those written before it are taken back.
fn write_all(plan: &Plan, paths: &[PathBuf]) -> Result<(), ClusterError> {
    for (index, (planned, path)) in plan.seeds.iter().zip(paths).enumerate() {
        if let Err(error) = write_whole(path, &planned.text, Existing::Keep) {
            for written in &paths[..index] {
                // The first error is the one to tell; these files are ours and new.
                let _ = fs::remove_file(written);
            }
            return Err(match error {
                PrivateError::Io { path, source }
                    if source.kind() == io::ErrorKind::AlreadyExists =>
                {
                    ClusterError::Exists { path }
                }
                other => other.into(),
            });
        }
    }
    Ok(())
}
