//! Where an archive is: the candidates for a mirror, in order of who named them.
//!
//! No mirror's name is written into this project. What the command line names wins over the image
//! definition, and that over the host's apt sources. Which suite is at which candidate is not
//! configured either: it is where `dists/SUITE/InRelease` is found first.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sources::{SourcesError, addresses_below};

/// The address of an archive, such as `http://HOST/debian`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mirror(String);

/// Why there is no mirror.
#[derive(Debug, Error)]
pub enum MirrorError {
    #[error("the mirror {0:?} is no address: write http://HOST/PATH, https://… or file:/PATH")]
    BadAddress(String),
    #[error(
        "no Debian mirror is known: give one with --mirror http://HOST/PATH, or write it as \
         `mirrors` into the image definition, or name it in this host's apt sources"
    )]
    None,
    #[error(transparent)]
    Sources(#[from] SourcesError),
}

/// The first list that names anything: given ones, the image definition's, the host's.
pub fn candidates(
    given: &[String],
    definition: &[String],
    host_root: &Path,
) -> Result<Vec<Mirror>, MirrorError> {
    let host;
    let chosen = if !given.is_empty() {
        given
    } else if !definition.is_empty() {
        definition
    } else {
        host = addresses_below(host_root)?;
        &host
    };
    if chosen.is_empty() {
        return Err(MirrorError::None);
    }
    chosen.iter().map(|address| address.parse()).collect()
}

impl Mirror {
    /// In the place of an address where something is known from the cache alone. It is only shown:
    /// offline nobody is asked.
    pub(super) fn cache() -> Self {
        Self("the cache".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of a file in the archive; `path` comes from a signed index.
    pub fn file(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let known = ["http://", "https://", "file:/"].iter().any(|known| text.starts_with(known));
        let clean = text.trim_end_matches('/');
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !known || !printable || clean.ends_with(':') || text.contains(['?', '#']) {
            return Err(MirrorError::BadAddress(text.to_owned()));
        }
        Ok(Self(clean.to_owned()))
    }
}

impl TryFrom<String> for Mirror {
    type Error = MirrorError;

    fn try_from(text: String) -> Result<Self, MirrorError> {
        text.parse()
    }
}

impl From<Mirror> for String {
    fn from(mirror: Mirror) -> Self {
        mirror.0
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_named_a_mirror_first_wins() {
        let root = tempfile::tempdir().expect("a folder");
        let apt = root.path().join("etc/apt");
        std::fs::create_dir_all(&apt).expect("made");
        std::fs::write(apt.join("sources.list"), "deb http://host.test/d x y\n").expect("wrote");
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let pick = |given: &[&str], definition: &[&str]| {
            let found = candidates(&list(given), &list(definition), root.path());
            found.expect("found")[0].to_string()
        };
        assert_eq!(pick(&["http://a.test/"], &["http://b.test"]), "http://a.test");
        assert_eq!(pick(&[], &["http://b.test"]), "http://b.test");
        assert_eq!(pick(&[], &[]), "http://host.test/d");
    }

    #[test]
    fn without_any_the_error_names_three_ways() {
        let nowhere = tempfile::tempdir().expect("a folder");
        let message = candidates(&[], &[], nowhere.path()).expect_err("none").to_string();
        for way in ["--mirror", "image definition", "apt sources"] {
            assert!(message.contains(way), "{message}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["host/debian", "ftp://x", "http://", "http://a b", "http://a/?x", "file:///"] {
            assert!(bad.parse::<Mirror>().is_err(), "{bad:?} was taken");
        }
    }
}
