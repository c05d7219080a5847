//! An overlay: a folder that adds one capability to the root.
//!
//! ```text
//! overlays/haproxy/
//!   overlay.toml   what to take from which packages, users, modules, templates, services
//!   files/         laid on the root as they are; symlinks stay symlinks
//!   templates/     *.hbs, rendered on the node at boot
//!   README.md      ports, state, how it fails
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use seed::manifest::{FileMode, Service, StateFolder, Template, User};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::content::Content;
use super::tree::{Node, NodeKind, Origin, TreeError, TreePath};

/// The files of an overlay are a handful; a link into a large tree would be a mistake.
const FILES_MAX: usize = 10_000;

#[derive(Debug, Error)]
pub enum OverlayError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{wanted_by} wants overlay {name:?}: there are {known}")]
    Unknown { name: String, wanted_by: String, known: String },
    #[error("overlays {one:?} and {other:?} can't be in one image: drop one of them")]
    Conflict { one: String, other: String },
    #[error("overlays {0:?} need one another in a circle: drop one of the `needs`")]
    Circle(Vec<String>),
    #[error("{}: {source}", path.display())]
    Tree { path: PathBuf, source: TreeError },
    #[error("{}: only files, folders and symlinks can be laid on the root", path.display())]
    OddFile { path: PathBuf },
    #[error("{}: more than {FILES_MAX} files below one overlay", path.display())]
    TooMany { path: PathBuf },
}

/// What `overlay.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub summary: String,
    /// Overlays that must be there too.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Overlays that must not.
    #[serde(default)]
    pub conflicts: Vec<String>,
    /// It gives whoever is at the console more than a shipped image should.
    #[serde(default)]
    pub debug: bool,
    /// It stands in for something that a shipped image must have for real.
    #[serde(default)]
    pub stand_in: bool,
    #[serde(default)]
    pub packages: Vec<PackageWish>,
    #[serde(default)]
    pub users: Vec<User>,
    #[serde(default)]
    pub directories: Vec<Directory>,
    #[serde(default)]
    pub state: Vec<StateFolder>,
    #[serde(default)]
    pub modules: ModuleWish,
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    #[serde(default)]
    pub templates: Vec<Template>,
    #[serde(default)]
    pub services: Vec<Service>,
    #[serde(default)]
    pub k3s: Option<K3sPin>,
}

/// Which release of K3s the overlay carries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct K3sPin {
    pub version: String,
    /// Where releases are; `{version}` stands for the version.
    pub base_url: String,
}

/// What to take from one package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageWish {
    pub name: String,
    /// Programs by their exact path; each must be there.
    #[serde(default)]
    pub executables: Vec<String>,
    /// Globs over everything else; each must match something.
    #[serde(default)]
    pub keep: Vec<String>,
    /// Globs that take away from `keep`.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// A folder that holds nothing yet, so that no file can make it exist.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    pub path: String,
    #[serde(default = "usual_mode")]
    pub mode: FileMode,
    /// Root, if not said otherwise.
    #[serde(default)]
    pub user: Option<String>,
}

fn usual_mode() -> FileMode {
    FileMode::from_bits(0o755)
}

/// Kernel modules, by name or by glob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleWish {
    /// Loaded at every boot, by name.
    #[serde(default)]
    pub load: Vec<String>,
    /// Carried, and loaded when hardware or a program asks for them.
    #[serde(default)]
    pub keep: Vec<String>,
    /// Never loaded because a device asks for it, only by its name: for drivers that harm.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// An overlay as it lies on disk.
#[derive(Clone, Debug)]
pub struct Overlay {
    pub name: String,
    pub folder: PathBuf,
    pub manifest: Manifest,
}

impl Overlay {
    fn load(folder: &Path, name: &str) -> Result<Self, OverlayError> {
        let path = folder.join("overlay.toml");
        let text = fs::read_to_string(&path)
            .map_err(|source| OverlayError::Read { path: path.clone(), source })?;
        let manifest = toml::from_str(&text)
            .map_err(|source| OverlayError::Syntax { path, source: Box::new(source) })?;
        Ok(Self { name: name.to_owned(), folder: folder.to_owned(), manifest })
    }

    /// What lies below `files/`, with its place in the root.
    pub fn files(&self) -> Result<Vec<(TreePath, Node)>, OverlayError> {
        let base = self.folder.join("files");
        if !base.is_dir() {
            return Ok(Vec::new());
        }
        let origin = Origin::Overlay(self.name.clone());
        let place = |path: PathBuf| {
            let inside = Path::new("/").join(path.strip_prefix(&base).unwrap_or(&path));
            let target = TreePath::new(&inside.to_string_lossy())
                .map_err(|source| OverlayError::Tree { path: path.clone(), source })?;
            Ok((target, node_of(&path, &origin)?))
        };
        list(&base)?.into_iter().map(place).collect()
    }

    /// A hash over all that can change an image: where each file lies, what it holds, and whether it
    /// can be executed. Where the checkout lies is not in it.
    pub fn fingerprint(&self) -> Result<[u8; 32], OverlayError> {
        let mut hasher = Sha256::new();
        hash_field(&mut hasher, self.name.as_bytes());
        for path in list(&self.folder)? {
            let inside = path.strip_prefix(&self.folder).unwrap_or(&path);
            hash_field(&mut hasher, inside.as_os_str().as_encoded_bytes());
            let node = node_of(&path, &Origin::Builder)?;
            hash_field(&mut hasher, &node.mode.to_le_bytes());
            match &node.kind {
                NodeKind::Directory => {}
                NodeKind::Symlink(target) => hash_field(&mut hasher, target.as_bytes()),
                NodeKind::File(content) => {
                    let bytes = content.to_vec();
                    let bytes = bytes.map_err(|source| OverlayError::Read { path, source })?;
                    hash_field(&mut hasher, &bytes);
                }
            }
        }
        Ok(hasher.finalize().into())
    }

    /// Its templates under the names that they have on a node, where those of all overlays lie in one
    /// folder.
    pub fn templates(&self) -> impl Iterator<Item = Template> {
        let named = |template: &Template| Template {
            source: format!("{}/{}", self.name, template.source),
            ..template.clone()
        };
        self.manifest.templates.iter().map(named)
    }

    /// The text of one of its templates.
    pub fn template(&self, source: &str) -> Result<Vec<u8>, OverlayError> {
        let path = self.folder.join("templates").join(source);
        fs::read(&path).map_err(|source| OverlayError::Read { path, source })
    }
}

/// Each field goes in with its length, so that no two lists of fields look the same.
fn hash_field(hasher: &mut Sha256, field: &[u8]) {
    hasher.update((field.len() as u64).to_le_bytes());
    hasher.update(field);
}

/// Git knows no more of a file's mode than whether it can be executed, so nor do we.
fn node_of(path: &Path, origin: &Origin) -> Result<Node, OverlayError> {
    let read = |source| OverlayError::Read { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(read)?;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(read)?;
        Ok(Node::symlink(target.to_string_lossy(), origin.clone()))
    } else if kind.is_dir() {
        Ok(Node::directory(origin.clone()))
    } else if kind.is_file() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let content = Content::from_bytes(fs::read(path).map_err(read)?);
        Ok(Node::file(content, if executable { 0o755 } else { 0o644 }, origin.clone()))
    } else {
        Err(OverlayError::OddFile { path: path.to_owned() })
    }
}

/// Everything below a folder, in a stable order, without following symlinks.
fn list(base: &Path) -> Result<Vec<PathBuf>, OverlayError> {
    let mut found = Vec::new();
    let mut queue = vec![base.to_owned()];
    while let Some(folder) = queue.pop() {
        let read = |source| OverlayError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            if entry.file_name() == ".gitkeep" {
                continue;
            }
            if entry.file_type().map_err(read)?.is_dir() {
                queue.push(entry.path());
            }
            found.push(entry.path());
            if found.len() > FILES_MAX {
                return Err(OverlayError::TooMany { path: base.to_owned() });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Loads the named overlays and what they need; an overlay comes after those that it needs. Each is
/// looked for in the folders in their order.
pub fn load_all(folders: &[PathBuf], names: &[String]) -> Result<Vec<Overlay>, OverlayError> {
    let mut loader = Loader { folders, done: Vec::new(), seen: BTreeSet::new(), path: Vec::new() };
    for name in names {
        loader.load(name, "the image")?;
    }
    let overlays = loader.done;
    for overlay in &overlays {
        let conflicts = &overlay.manifest.conflicts;
        if let Some(other) = overlays.iter().find(|other| conflicts.contains(&other.name)) {
            let (one, other) = (overlay.name.clone(), other.name.clone());
            return Err(OverlayError::Conflict { one, other });
        }
    }
    Ok(overlays)
}

struct Loader<'a> {
    folders: &'a [PathBuf],
    done: Vec<Overlay>,
    seen: BTreeSet<String>,
    path: Vec<String>,
}

impl Loader<'_> {
    fn load(&mut self, name: &str, wanted_by: &str) -> Result<(), OverlayError> {
        if self.path.iter().any(|above| above == name) {
            self.path.push(name.to_owned());
            return Err(OverlayError::Circle(self.path.clone()));
        }
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let plain = !name.contains('/') && !name.starts_with(['.', '_']);
        let mut folders = self.folders.iter().map(|folder| folder.join(name));
        let Some(folder) = folders.find(|folder| plain && folder.is_dir()) else {
            let known: BTreeSet<String> =
                self.folders.iter().flat_map(|folder| known_overlays(folder)).collect();
            let known = Vec::from_iter(known);
            let known = known.join(", ");
            let (name, wanted_by) = (name.to_owned(), wanted_by.to_owned());
            return Err(OverlayError::Unknown { name, wanted_by, known });
        };
        let overlay = Overlay::load(&folder, name)?;
        self.path.push(name.to_owned());
        for need in &overlay.manifest.needs {
            self.load(need, &format!("overlay {name:?}"))?;
        }
        self.path.pop();
        self.done.push(overlay);
        Ok(())
    }
}

/// The overlays that there are; `_template` is there to be copied.
fn known_overlays(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with(['.', '_']))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlays(manifests: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in manifests {
            fs::create_dir_all(folder.path().join(name)).expect("made");
            let text = format!("summary = \"test\"\n{text}");
            fs::write(folder.path().join(name).join("overlay.toml"), text).expect("written");
        }
        folder
    }

    fn load(folder: &tempfile::TempDir, name: &str) -> Result<Vec<String>, OverlayError> {
        let loaded = load_all(&[folder.path().to_owned()], &[name.to_owned()])?;
        Ok(loaded.into_iter().map(|overlay| overlay.name).collect())
    }

    #[test]
    fn an_overlay_is_looked_for_in_the_folders_in_their_order() {
        let (own, project) = (overlays(&[("a", "needs = [\"b\"]")]), overlays(&[("b", "")]));
        let folders = [own.path().to_owned(), project.path().to_owned()];
        let loaded = load_all(&folders, &["a".to_owned()]).expect("both are found");
        let names: Vec<&str> = loaded.iter().map(|overlay| overlay.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert!(load_all(&folders[1..], &["a".to_owned()]).is_err());
    }

    #[test]
    fn an_overlay_comes_after_what_it_needs_and_only_once() {
        let folder = overlays(&[
            ("base", ""),
            ("vip", "needs = [\"base\"]"),
            ("pg", "needs = [\"base\", \"vip\"]"),
        ]);
        assert_eq!(load(&folder, "pg").expect("loaded"), ["base", "vip", "pg"]);
    }

    #[test]
    fn mistakes_between_overlays_are_named() {
        let folder = overlays(&[
            ("a", "needs = [\"b\"]"),
            ("b", "needs = [\"a\"]"),
            ("c", "needs = [\"d\"]\nconflicts = [\"d\"]"),
            ("d", ""),
            ("e", "neds = []"),
        ]);
        assert!(matches!(load(&folder, "a"), Err(OverlayError::Circle(path)) if path.len() == 3));
        assert!(matches!(load(&folder, "c"), Err(OverlayError::Conflict { .. })));
        let unknown = load(&folder, "../a").expect_err("unknown").to_string();
        assert!(unknown.ends_with("there are a, b, c, d, e"), "{unknown}");
        let typo = load(&folder, "e").expect_err("a typo").to_string();
        assert!(typo.contains("neds"), "{typo}");
    }

    #[test]
    fn a_fingerprint_tells_of_every_change_that_an_image_would_show() {
        let print = |folder: &tempfile::TempDir| {
            let loaded = load_all(&[folder.path().to_owned()], &["a".to_owned()]).expect("loaded");
            loaded[0].fingerprint().expect("read")
        };
        let fresh = || {
            let folder = overlays(&[("a", "")]);
            fs::create_dir_all(folder.path().join("a/files/etc")).expect("made");
            fs::create_dir_all(folder.path().join("a/files/usr")).expect("made");
            fs::write(folder.path().join("a/files/etc/x"), "x").expect("written");
            folder
        };
        let (one, other) = (fresh(), fresh());
        assert_eq!(print(&one), print(&other), "the place of the checkout is not in it");
        let file = other.path().join("a/files/etc/x");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
        assert_ne!(print(&one), print(&other), "an executable is another file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
        assert_eq!(print(&one), print(&other));
        fs::rename(&file, other.path().join("a/files/usr/x")).expect("moved");
        assert_ne!(print(&one), print(&other), "another place is another file");
    }

    #[test]
    fn files_keep_their_links_and_whether_they_can_be_executed() {
        let folder = overlays(&[("a", "")]);
        let files = folder.path().join("a/files/usr/bin");
        fs::create_dir_all(&files).expect("made");
        fs::write(files.join("tool"), "#!").expect("written");
        let executable = fs::Permissions::from_mode(0o750);
        fs::set_permissions(files.join("tool"), executable).expect("set");
        std::os::unix::fs::symlink("tool", files.join("link")).expect("linked");
        let loaded = load_all(&[folder.path().to_owned()], &["a".to_owned()]).expect("loaded");
        let laid = loaded[0].files().expect("laid");
        let find = |text: &str| laid.iter().find(|(path, _)| path.as_str() == text);
        assert_eq!(find("/usr/bin/tool").expect("there").1.mode, 0o755);
        assert!(find("/usr/bin/link").is_some());
    }
}
