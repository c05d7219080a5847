//! What the builder bakes into an image, and the node reads at boot: `manifest.json`.
//!
//! The manifest is the contract between the two: which overlays and packages the image has, which
//! users, kernel modules and sysctls it wants, which templates become which files, and which
//! services run. The types of [`service`] and [`template`] are also the vocabulary of an overlay's
//! author: the builder reads the same tables from `overlay.toml`.

mod mode;
mod service;
mod state;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use mode::FileMode;
pub use service::{Directory, Limits, PortSource, Ready, Restart, RestartPolicy, Service, Stop};
pub use state::{STATE_PATH, StateFolder};
pub use template::Template;

/// Where an image carries its manifest.
pub const MANIFEST_PATH: &str = "/usr/lib/edgepair/manifest.json";

/// Where an image carries the sources of its templates.
pub const TEMPLATES_PATH: &str = "/usr/lib/edgepair/templates";

/// Where rendered files land; the root file system has symbolic links to here.
pub const RENDERED_PATH: &str = "/run/edgepair/rendered";

/// The largest manifest that is read. A full image lists some hundred packages in about 40 KiB.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Something that large is no manifest.
    #[error("the manifest has {0} bytes, more than {MAX_MANIFEST_BYTES}: rebuild the image")]
    TooLarge(usize),
    /// It does not follow the types of this module.
    #[error("the manifest does not fit this version of the agent: {0}; rebuild the image")]
    Malformed(#[from] serde_json::Error),
    /// Two things of one kind have the same name.
    #[error("two {kind} are called `{name}`: rename one of them in its overlay")]
    Twice {
        /// What they are: services, templates, users.
        kind: &'static str,
        /// Their common name.
        name: String,
    },
    /// A service relies on one that is not in the image.
    #[error("service `{service}` needs `{needed}`, which is not in the image: add its overlay")]
    NeedsAbsent {
        /// The service that needs.
        service: String,
        /// What it needs.
        needed: String,
    },
    /// Services wait for each other in a circle, so none could ever start.
    #[error("service `{service}` waits for itself through {through}: break the circle")]
    Circle {
        /// One of the services of the circle.
        service: String,
        /// The others, in order.
        through: String,
    },
    /// A state folder lies somewhere else.
    #[error("the state folder `{path}` is not below {STATE_PATH}: write it like /state/postgres")]
    NotOnState {
        /// Its path.
        path: String,
    },
    /// A service, template or state folder names a user that is not in the image.
    #[error("`{owner}` belongs to user `{user}`, who is not in the image: add the user")]
    NoSuchUser {
        /// The service or the template's path.
        owner: String,
        /// The user's name.
        user: String,
    },
}

/// An overlay that went into an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayRecord {
    /// The overlay's name.
    pub name: String,
    /// Its version, where what it brings has one (such as K3s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A package whose files went into an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// The binary package's name.
    pub name: String,
    /// Its version as Debian writes it.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// SHA-256 of the `.deb`, in hexadecimal.
    pub sha256: String,
}

/// A user of the image, and the group of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name of user and group.
    pub name: String,
    /// The number of user and group.
    pub id: u32,
    /// Home directory.
    #[serde(default = "no_home")]
    pub home: String,
    /// Further groups, by the names of their users.
    #[serde(default)]
    pub groups: Vec<String>,
}

fn no_home() -> String {
    "/nonexistent".to_owned()
}

/// Everything that the node must know about its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The image definition's name, such as `edge`.
    pub name: String,
    /// The image's version.
    pub version: String,
    /// The seed format that this image reads; see [`crate::section::FORMAT`].
    pub seed_format: u32,
    /// The build's time (`SOURCE_DATE_EPOCH`), seconds since 1970: no clock is ever earlier.
    pub source_date: u64,
    /// Debian's name of the architecture, such as `amd64`.
    pub architecture: String,
    /// Whether K3s is replaced by the stand-in. Such an image is for tests only.
    pub stand_in: bool,
    /// Whether the image has a shell.
    pub debug: bool,
    /// The overlays, in the order in which they were applied.
    pub overlays: Vec<OverlayRecord>,
    /// The packages, sorted by name.
    pub packages: Vec<PackageRecord>,
    /// Users beside root.
    pub users: Vec<User>,
    /// Kernel modules that are loaded at boot, beside those that devices ask for.
    pub modules: Vec<String>,
    /// Kernel settings, such as `net.ipv4.ip_forward`.
    pub sysctls: BTreeMap<String, String>,
    /// Folders of the STATE partition.
    #[serde(default)]
    pub state: Vec<StateFolder>,
    /// Files that are rendered from the seed at boot.
    pub templates: Vec<Template>,
    /// What runs.
    pub services: Vec<Service>,
}

impl Manifest {
    /// The manifest of an image that has nothing in it yet.
    pub fn new(name: &str, version: &str, architecture: &str, source_date: u64) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            seed_format: crate::section::FORMAT,
            source_date,
            architecture: architecture.to_owned(),
            stand_in: false,
            debug: false,
            overlays: Vec::new(),
            packages: Vec::new(),
            users: Vec::new(),
            modules: Vec::new(),
            sysctls: BTreeMap::new(),
            state: Vec::new(),
            templates: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Reads a manifest and checks it.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(text.len()));
        }
        let manifest: Self = serde_json::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Writes the manifest; the same manifest always gives the same bytes.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Whether names are unique, and whatever is named exists.
    pub fn check(&self) -> Result<(), ManifestError> {
        unique("users", self.users.iter().map(|user| user.name.as_str()))?;
        unique("services", self.services.iter().map(|service| service.name.as_str()))?;
        unique("state folders", self.state.iter().map(|folder| folder.path.as_str()))?;
        let mounts = self.state.iter().filter_map(|folder| folder.mount.as_ref());
        unique("mounts of state folders", mounts.map(crate::scalar::AbsolutePath::as_str))?;
        if let Some(folder) = self.state.iter().find(|folder| !folder.is_on_state()) {
            return Err(ManifestError::NotOnState { path: folder.path.to_string() });
        }
        unique("templates", self.templates.iter().map(|template| template.path.as_str()))?;
        self.users_exist()?;
        let services: BTreeMap<&str, &Service> =
            self.services.iter().map(|service| (service.name.as_str(), service)).collect();
        for service in &self.services {
            for needed in &service.needs {
                if !services.contains_key(needed.as_str()) {
                    return Err(ManifestError::NeedsAbsent {
                        service: service.name.to_string(),
                        needed: needed.to_string(),
                    });
                }
            }
        }
        no_circles(&services)
    }

    fn users_exist(&self) -> Result<(), ManifestError> {
        let exists = |name: &str| name == "root" || self.users.iter().any(|user| user.name == name);
        let services = self.services.iter().map(|s| (s.name.as_str(), &s.user, &s.group));
        let templates = self.templates.iter().map(|t| (t.path.as_str(), &t.user, &t.group));
        let folders = self.state.iter().map(|folder| (folder.path.as_str(), &folder.user, &None));
        for (owner, user, group) in services.chain(templates).chain(folders) {
            let absent = [Some(user), group.as_ref()].into_iter().flatten().find(|n| !exists(n));
            if let Some(user) = absent {
                return Err(ManifestError::NoSuchUser {
                    owner: owner.to_owned(),
                    user: user.clone(),
                });
            }
        }
        Ok(())
    }
}

fn unique<'n>(
    kind: &'static str,
    names: impl Iterator<Item = &'n str>,
) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ManifestError::Twice { kind, name: name.to_owned() });
        }
    }
    Ok(())
}

/// Takes away services that wait for nothing that is left, until none is left or a circle is.
fn no_circles(services: &BTreeMap<&str, &Service>) -> Result<(), ManifestError> {
    let mut waiting: BTreeSet<&str> = services.keys().copied().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        let snapshot = waiting.clone();
        waiting.retain(|name| {
            services[name].waits_for().any(|other| snapshot.contains(other.as_str()))
        });
        if waiting.len() == before {
            return Err(circle(services, &waiting));
        }
    }
    Ok(())
}

/// Follows the services that remain until one comes up again.
fn circle(services: &BTreeMap<&str, &Service>, waiting: &BTreeSet<&str>) -> ManifestError {
    let mut way: Vec<&str> = waiting.first().copied().into_iter().collect();
    while let Some(next) = way.last().and_then(|last| services.get(last)).and_then(|service| {
        service.waits_for().map(super::scalar::Word::as_str).find(|name| waiting.contains(name))
    }) {
        if let Some(start) = way.iter().position(|name| *name == next) {
            way.drain(..start);
            break;
        }
        way.push(next);
    }
    let service = way.first().copied().unwrap_or_default().to_owned();
    ManifestError::Circle { through: way[1.min(way.len())..].join(", "), service }
}
