//! The witness's configuration: a strict TOML file beside the certificates that it names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::WitnessError;
use crate::Identity;

/// Longest file that is read: configuration, certificate, key.
const MAX_BYTES: u64 = 256 * 1024;
/// Clusters of one witness: two questions a second of each are then a few hundred.
pub const MAX_CLUSTERS: usize = 128;
/// Longest name of a cluster; it is part of a file's name and of an ALPN protocol.
const MAX_NAME_BYTES: usize = 63;
const DEFAULT_PORT: u16 = 7431;

/// What `witness.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    #[serde(default = "everywhere")]
    pub listen: SocketAddr,
    /// The folder of the registers. On a disk: what is kept here must survive a power cut.
    pub state: PathBuf,
    /// The folder that remembers for which clusters a register was ever made; another one than
    /// `state`. With it `run` makes the first register of a cluster, and never a second one. Without
    /// it `init` does.
    #[serde(default)]
    pub made: Option<PathBuf>,
    /// The pairs that it serves.
    pub clusters: Vec<Cluster>,
}

/// One pair.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The cluster's name, as in its seeds.
    pub name: String,
    /// Common names of the two nodes' certificates: side A, side B.
    pub nodes: [String; 2],
    /// File of the cluster's CA certificate (PEM).
    pub ca_certificate: PathBuf,
    /// File of the certificate that this CA gave the witness (PEM).
    pub certificate: PathBuf,
    /// File of its key (PEM).
    pub key: PathBuf,
}

fn everywhere() -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT))
}

fn read(path: &Path) -> Result<String, WitnessError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|source| WitnessError::Read { path: path.to_owned(), source })?;
    Ok(text)
}

impl Config {
    /// Reads the file; paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, WitnessError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&read(path)?, folder)
            .map_err(|why| WitnessError::Syntax { path: path.to_owned(), why })
    }

    /// The same from a text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.state = folder.join(&config.state);
        config.made = config.made.map(|made| folder.join(made));
        if config.made.as_ref() == Some(&config.state) {
            return Err(
                "`made` and `state` are one folder: what loses one would lose both".to_owned()
            );
        }
        if config.clusters.len() > MAX_CLUSTERS {
            return Err(format!("a witness serves {MAX_CLUSTERS} clusters at most: run another"));
        }
        let mut names = BTreeSet::new();
        for cluster in &mut config.clusters {
            cluster.check()?;
            if !names.insert(cluster.name.clone()) {
                return Err(format!("cluster \"{}\" is there twice: remove one", cluster.name));
            }
            for file in [&mut cluster.ca_certificate, &mut cluster.certificate, &mut cluster.key] {
                *file = folder.join(&*file);
            }
        }
        Ok(config)
    }

    /// A cluster by its name.
    pub fn cluster(&self, name: &str) -> Result<&Cluster, WitnessError> {
        let found = self.clusters.iter().find(|cluster| cluster.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> =
                self.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
            WitnessError::NoCluster { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// The file of a cluster's register.
    pub fn register(&self, cluster: &Cluster) -> PathBuf {
        self.state.join(format!("{}.register", cluster.name))
    }
}

impl Cluster {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(sound) {
            return Err(format!(
                "\"{name}\" is no name of a cluster: use letters, digits and hyphens, \
                 {MAX_NAME_BYTES} at most"
            ));
        }
        let [a, b] = &self.nodes;
        if a == b || a.is_empty() || b.is_empty() {
            return Err(format!("cluster \"{name}\" needs the names of two different nodes"));
        }
        Ok(())
    }

    /// Reads the certificates.
    pub(super) fn identity(&self) -> Result<Identity, WitnessError> {
        Ok(Identity {
            ca_certificate: read(&self.ca_certificate)?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOUND: &str = "state = 'registers'\n[[clusters]]\nname = 'plant3'\nnodes = ['n1', 'n2']\n\
        ca_certificate = 'plant3/ca.pem'\ncertificate = '/keys/w.pem'\nkey = '/keys/w.key'\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/witness"))
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse(SOUND).unwrap();
        assert_eq!(config.listen.port(), 7431);
        let cluster = config.cluster("plant3").unwrap();
        assert_eq!(config.register(cluster), Path::new("/etc/witness/registers/plant3.register"));
        assert_eq!(cluster.ca_certificate, Path::new("/etc/witness/plant3/ca.pem"));
        assert_eq!(cluster.key, Path::new("/keys/w.key"));
        let unknown = config.cluster("plant4").unwrap_err().to_string();
        assert!(unknown.contains("plant3"), "{unknown}");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refused = |from: &str, to: &str| parse(&SOUND.replace(from, to)).unwrap_err();
        assert!(refused("name", "nane").contains("nane"));
        assert!(refused("state =", "made = 'registers'\nstate =").contains("one folder"));
        assert!(refused("plant3'\nn", "../x'\nn").contains("is no name"));
        assert!(refused("'n2'", "'n1'").contains("two different nodes"));
        assert!(refused(", 'n2'", "").contains('2'));
        let (_, cluster) = SOUND.split_once('\n').unwrap();
        assert!(parse(&format!("{SOUND}{cluster}")).unwrap_err().contains("twice"));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,100}", at in 0_usize..200, with in "[a-z'=\\[\\]\n]{0,3}") {
            let _any = parse(&text);
            let mut changed = SOUND.to_owned();
            changed.insert_str(at.min(SOUND.len()), &with);
            let _any = parse(&changed);
        }
    }
}
