//! The operator's folder, as `builder cluster new` makes it: who we are, and whom we trust.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fingerprint::Fingerprint;

const CERTIFICATE: &str = "operator.pem";
const KEY: &str = "operator.key";
const AUTHORITY: &str = "ca.pem";

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A file isn't there or can't be read.
    #[error(
        "{}: {source}; name the folder that `builder cluster new` made (it has {CERTIFICATE}, {KEY} \
         and {AUTHORITY})", path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file doesn't hold what its name says.
    #[error("{}: {why}; restore it from a backup", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// An operator: certificate, key, and the CA of the site.
#[derive(Debug)]
pub struct Operator {
    /// How to speak TLS as this operator.
    pub config: Arc<ClientConfig>,
    /// The fingerprint that a node's seed must list.
    pub fingerprint: Fingerprint,
}

impl Operator {
    /// Reads the folder.
    pub fn load(folder: &Path) -> Result<Self, OperatorError> {
        let path = folder.join(CERTIFICATE);
        let chain = CertificateDer::pem_slice_iter(&read(&path)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| content(&path, &error))?;
        let Some(own) = chain.first() else {
            return Err(content(&path, &"it holds no certificate"));
        };
        let fingerprint = Fingerprint::of(own);
        let path = folder.join(KEY);
        let key =
            PrivateKeyDer::from_pem_slice(&read(&path)?).map_err(|error| content(&path, &error))?;
        let path = folder.join(AUTHORITY);
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&read(&path)?) {
            let authority = authority.map_err(|error| content(&path, &error))?;
            roots.add(authority).map_err(|error| content(&path, &error))?;
        }
        if roots.is_empty() {
            return Err(content(&path, &"it holds no certificate"));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder.with_root_certificates(roots).with_client_auth_cert(chain, key)
            })
            .map_err(|error| content(&folder.join(CERTIFICATE), &error))?;
        // Each run of the command proves anew who it is.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OperatorError> {
    fs::read(path).map_err(|source| OperatorError::File { path: path.to_owned(), source })
}

fn content(path: &Path, why: &dyn std::fmt::Display) -> OperatorError {
    OperatorError::Content { path: path.to_owned(), why: why.to_string() }
}
