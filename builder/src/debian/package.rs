//! One binary package, as an index or a lock describes it.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::deb822::{Deb822Error, Stanza};
use super::dependency::{
    Dependency, DependencyError, is_architecture, is_package_name, parse_list, parse_provides,
};
use super::digest::{Digest, DigestError};
use super::mirror::Mirror;
use super::version::{Version, VersionError};

/// The largest package of Debian has 1.6 GB.
const DEB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What we know about a package before its `.deb` is here.
#[derive(Clone, Debug, Serialize)]
pub struct Package {
    pub name: String,
    pub version: Version,
    pub architecture: String,
    /// The source package that it was built from, and that one's version.
    pub source: String,
    pub source_version: String,
    /// Where the `.deb` is, below the mirror.
    pub filename: String,
    pub size: u64,
    pub sha256: Digest,
    /// `Pre-Depends` and then `Depends`.
    pub depends: Vec<Dependency>,
    #[serde(skip)]
    pub provides: Vec<(String, Option<Version>)>,
    /// The suite it was found in; empty when it comes from a lock.
    pub suite: String,
    /// The mirror that has the suite; none when it comes from a lock.
    pub mirror: Option<Mirror>,
}

/// Why a stanza describes no package.
#[derive(Debug, Error)]
pub enum PackageError {
    #[error(transparent)]
    Syntax(#[from] Deb822Error),
    #[error("it has no field {0}")]
    Missing(&'static str),
    #[error("its {field} is {value:?}, which can't be")]
    Bad { field: &'static str, value: String },
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Dependency(#[from] DependencyError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

#[derive(Default)]
struct Fields<'a> {
    package: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    source: Option<&'a str>,
    filename: Option<&'a str>,
    size: Option<&'a str>,
    sha256: Option<&'a str>,
    pre_depends: &'a str,
    depends: &'a str,
    provides: &'a str,
}

impl Package {
    /// Reads a stanza of a `Packages` index.
    pub fn parse(stanza: Stanza<'_>, suite: &str, mirror: &Mirror) -> Result<Self, PackageError> {
        let fields = collect(stanza)?;
        let name = required(fields.package, "Package")?;
        let version = required(fields.version, "Version")?;
        let source = fields.source.unwrap_or(name);
        let (source, source_version) = match source.split_once('(') {
            Some((source, version)) => (source.trim(), version.trim_end_matches(')').trim()),
            None => (source, version),
        };
        let size = required(fields.size, "Size")?;
        let mut depends = parse_list(fields.pre_depends)?;
        depends.extend(parse_list(fields.depends)?);
        let package = Self {
            name: name.to_owned(),
            version: version.parse()?,
            architecture: required(fields.architecture, "Architecture")?.to_owned(),
            source: source.to_owned(),
            source_version: source_version.to_owned(),
            filename: required(fields.filename, "Filename")?.to_owned(),
            size: size.parse().map_err(|_| bad("Size", size))?,
            sha256: required(fields.sha256, "SHA256")?.parse()?,
            depends,
            provides: parse_provides(fields.provides)?,
            suite: suite.to_owned(),
            mirror: Some(mirror.clone()),
        };
        package.check()?;
        Ok(package)
    }

    /// What must hold however we came to know about the package.
    pub(super) fn check(&self) -> Result<(), PackageError> {
        if !is_package_name(&self.name) {
            return Err(bad("Package", &self.name));
        }
        if !is_architecture(&self.architecture) {
            return Err(bad("Architecture", &self.architecture));
        }
        // The name becomes part of an address.
        let proper = |part: &str| !part.is_empty() && part != "." && part != "..";
        let printable = self.filename.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
        if !printable || !self.filename.split('/').all(proper) {
            return Err(bad("Filename", &self.filename));
        }
        if self.size > DEB_BYTES_MAX {
            return Err(bad("Size", &self.size.to_string()));
        }
        Ok(())
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

fn collect(stanza: Stanza<'_>) -> Result<Fields<'_>, PackageError> {
    let mut fields = Fields::default();
    for field in stanza.fields() {
        let field = field?;
        let value = field.value.trim();
        match field.name {
            "Package" => fields.package = Some(value),
            "Version" => fields.version = Some(value),
            "Architecture" => fields.architecture = Some(value),
            "Source" => fields.source = Some(value),
            "Filename" => fields.filename = Some(value),
            "Size" => fields.size = Some(value),
            "SHA256" => fields.sha256 = Some(value),
            "Pre-Depends" => fields.pre_depends = value,
            "Depends" => fields.depends = value,
            "Provides" => fields.provides = value,
            _ => {}
        }
    }
    Ok(fields)
}

fn required<'a>(value: Option<&'a str>, field: &'static str) -> Result<&'a str, PackageError> {
    value.filter(|value| !value.is_empty()).ok_or(PackageError::Missing(field))
}

fn bad(field: &'static str, value: &str) -> PackageError {
    PackageError::Bad { field, value: value.chars().take(120).collect() }
}
