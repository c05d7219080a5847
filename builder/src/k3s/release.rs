//! A release of K3s: its version, and where its files are.

use thiserror::Error;

use crate::root::definition::Architecture;

/// Stands for the version in the overlay's base URL.
const PLACEHOLDER: &str = "{version}";
/// Longest version and URL; real ones are a tenth of that.
const MAX_TEXT_BYTES: usize = 512;

/// A release for one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    version: String,
    base_url: String,
    architecture: Architecture,
}

/// Why a release can't be named so.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReleaseError {
    /// The version has another form.
    #[error("{0:?} is no version of K3s: write it like \"v1.37.1+k3s1\"")]
    Version(String),
    /// The base URL has another form.
    #[error(
        "{0:?} is no address of K3s releases: write http://, https:// or file:// and put {PLACEHOLDER} \
         where the version belongs"
    )]
    BaseUrl(String),
}

impl Release {
    /// A release; `base_url` has `{version}` where the version belongs.
    pub fn new(
        version: &str,
        base_url: &str,
        architecture: Architecture,
    ) -> Result<Self, ReleaseError> {
        if !is_version(version) {
            let shown = version.chars().take(MAX_TEXT_BYTES).collect();
            return Err(ReleaseError::Version(shown));
        }
        let scheme = ["https://", "http://", "file://"];
        let known = scheme.iter().any(|scheme| base_url.starts_with(scheme));
        let plain = base_url.bytes().all(|byte| byte.is_ascii_graphic());
        let whole = base_url.matches(PLACEHOLDER).count() == 1;
        if !known || !plain || !whole || base_url.len() > MAX_TEXT_BYTES {
            let shown = base_url.chars().take(MAX_TEXT_BYTES).collect();
            return Err(ReleaseError::BaseUrl(shown));
        }
        Ok(Self {
            version: version.to_owned(),
            base_url: base_url.trim_end_matches('/').to_owned(),
            architecture,
        })
    }

    /// The version, such as `v1.37.1+k3s1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The name of the binary in the release.
    pub fn binary(&self) -> &'static str {
        match self.architecture {
            Architecture::Amd64 => "k3s",
            Architecture::Arm64 => "k3s-arm64",
        }
    }

    /// The name of the archive of container images.
    pub fn images(&self) -> String {
        format!("k3s-airgap-images-{}.tar.zst", self.architecture.debian())
    }

    /// The name of the list of checksums.
    pub fn checksums(&self) -> String {
        format!("sha256sum-{}.txt", self.architecture.debian())
    }

    /// Where a file of the release is.
    pub fn url(&self, file: &str) -> String {
        format!("{}/{file}", self.folder_url())
    }

    /// Where all its files are. A plus sign means a space to some servers, so it is encoded; in a
    /// path on disk it stays.
    pub(super) fn folder_url(&self) -> String {
        let version = if self.base_url.starts_with("file:") {
            self.version.clone()
        } else {
            self.version.replace('+', "%2B")
        };
        self.base_url.replace(PLACEHOLDER, &version)
    }
}

/// Whether a text is `vMAJOR.MINOR.PATCH[-rcN]+k3sN`. It becomes part of paths and addresses.
fn is_version(text: &str) -> bool {
    let number = |text: &str| {
        !text.is_empty() && text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let whole = text.strip_prefix('v').and_then(|rest| rest.split_once('+'));
    let Some((kubernetes, build)) = whole else {
        return false;
    };
    let (release, candidate) = match kubernetes.split_once("-rc") {
        Some((release, candidate)) => (release, Some(candidate)),
        None => (kubernetes, None),
    };
    release.split('.').count() == 3
        && release.split('.').all(number)
        && candidate.is_none_or(number)
        && build.strip_prefix("k3s").is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://releases.example/k3s/{version}/";

    #[test]
    fn addresses_have_the_plus_sign_encoded() {
        let release = Release::new("v1.37.1+k3s1", BASE, Architecture::Amd64).expect("a release");
        let url = "https://releases.example/k3s/v1.37.1%2Bk3s1/k3s";
        assert_eq!(release.url(release.binary()), url);
        assert_eq!(release.images(), "k3s-airgap-images-amd64.tar.zst");
        assert_eq!(release.checksums(), "sha256sum-amd64.txt");
    }

    #[test]
    fn the_other_machine_has_other_names() {
        let release = Release::new("v1.37.1+k3s1", BASE, Architecture::Arm64).expect("a release");
        assert_eq!(release.binary(), "k3s-arm64");
        assert_eq!(release.images(), "k3s-airgap-images-arm64.tar.zst");
    }

    #[test]
    fn versions_that_are_none_are_refused() {
        for good in ["v1.37.1+k3s1", "v1.38.0-rc2+k3s12"] {
            assert!(Release::new(good, BASE, Architecture::Amd64).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1.37.1+k3s1",
            "v1.37.1",
            "v1.37+k3s1",
            "v1.37.1+k3s",
            "v1.37.1+rke1",
            "v1.37.1+k3s1/..",
            "../v1.37.1+k3s1",
            "v1.37.x+k3s1",
            "latest",
        ] {
            let error = Release::new(bad, BASE, Architecture::Amd64);
            assert_eq!(error, Err(ReleaseError::Version(bad.to_owned())));
        }
    }

    #[test]
    fn base_addresses_that_are_none_are_refused() {
        for bad in ["", "ftp://x/{version}", "https://x/", "https://x /{version}"] {
            let error = Release::new("v1.37.1+k3s1", bad, Architecture::Amd64);
            assert_eq!(error, Err(ReleaseError::BaseUrl(bad.to_owned())));
        }
    }
}
