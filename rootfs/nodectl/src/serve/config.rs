//! The API's configuration: what the node renders from its seed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::error::ServeError;

/// Longest configuration that is read: certificates and a list of fingerprints are some KiB.
const MAX_BYTES: u64 = 256 * 1024;

/// What `nodeapi.toml` says.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The port to listen on.
    pub port: u16,
    /// SHA-256 fingerprints of the operators' certificates.
    pub fingerprints: Vec<String>,
    /// The CA's certificate (PEM).
    pub ca_certificate: String,
    /// This node's certificate (PEM).
    pub node_certificate: String,
    /// Its key (PEM).
    pub node_key: String,
}

impl std::fmt::Debug for Config {
    /// Without the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Config")
            .field("port", &self.port)
            .field("fingerprints", &self.fingerprints)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, ServeError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
            .map_err(|source| ServeError::Read { path: path.to_owned(), source })?;
        // The parser's longer message would quote the file, and with it the key.
        toml::from_str(&text).map_err(|error| ServeError::Syntax {
            path: path.to_owned(),
            why: error.message().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_configuration_is_refused_without_showing_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodeapi.toml");
        std::fs::write(&path, "port = 7432\nnode_key = \"very private\"\nextra = 1\n").unwrap();
        let refused = Config::load(&path).unwrap_err().to_string();
        assert!(refused.contains("extra"), "{refused}");
        assert!(!refused.contains("very private"), "{refused}");
    }
}
