//! One file tree in memory: what will be the root of the image.
//!
//! Invariants, kept by the functions here so that no writer has to check them again:
//! - every path is absolute, normalised and valid UTF-8, and `/` always exists;
//! - every parent of an entry exists and is a directory;
//! - iteration is in sorted path order, so that equal trees give equal bytes.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::content::Content;

/// Linux refuses longer names and longer symlink targets.
const NAME_MAX_BYTES: usize = 255;
const PATH_MAX_BYTES: usize = 4095;

/// An absolute, normalised path inside the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// Who put an entry there: answers `builder inspect --why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A parent directory that nobody named.
    Implied,
    /// Made by the builder itself.
    Builder,
    /// Laid down by an overlay's `files/` or declared in its manifest.
    Overlay(String),
    /// A file of a Debian package, wanted by an overlay.
    Package { package: String, overlay: String },
    /// A shared library that an executable needs.
    Library { package: String, needed_by: TreePath },
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    Directory,
    File(Content),
    Symlink(String),
}

/// One entry of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky; no type bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub origin: Origin,
}

/// Why an entry can't be part of a tree.
#[derive(Debug, Error)]
pub enum TreeError {
    #[error("{0:?} is not an absolute path")]
    NotAbsolute(String),
    #[error("{0:?} climbs out of the tree or has an empty part")]
    NotNormal(String),
    #[error("{0:?} is longer than Linux allows")]
    TooLong(String),
    #[error("{0:?} has a control character")]
    ControlCharacter(String),
    #[error("{path} is a {was} and can't become a {wanted}")]
    KindConflict { path: TreePath, was: &'static str, wanted: &'static str },
}

/// The tree itself.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<TreePath, Node>,
}

impl TreePath {
    /// Checks and takes an absolute path such as `/usr/bin/postgres`.
    pub fn new(path: &str) -> Result<Self, TreeError> {
        let Some(rest) = path.strip_prefix('/') else {
            return Err(TreeError::NotAbsolute(path.to_owned()));
        };
        if path.len() > PATH_MAX_BYTES || rest.split('/').any(|part| part.len() > NAME_MAX_BYTES) {
            return Err(TreeError::TooLong(path.to_owned()));
        }
        if path.chars().any(char::is_control) {
            return Err(TreeError::ControlCharacter(path.to_owned()));
        }
        let proper = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !rest.is_empty() && !rest.split('/').all(proper) {
            return Err(TreeError::NotNormal(path.to_owned()));
        }
        Ok(Self(path.to_owned()))
    }

    pub fn root() -> Self {
        Self("/".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The last part; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The directory that holds this entry; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.rfind('/').unwrap_or(0);
        Some(Self(self.0[..cut.max(1)].to_owned()))
    }

    /// This path with one more part.
    pub fn join(&self, name: &str) -> Result<Self, TreeError> {
        let base = self.0.trim_end_matches('/');
        Self::new(&format!("{base}/{name}"))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implied => f.write_str("a parent of other files"),
            Self::Builder => f.write_str("the builder itself"),
            Self::Overlay(overlay) => write!(f, "overlay {overlay}"),
            Self::Package { package, overlay } => {
                write!(f, "package {package}, wanted by overlay {overlay}")
            }
            Self::Library { package, needed_by } => {
                write!(f, "package {package}, a library that {needed_by} needs")
            }
        }
    }
}

impl NodeKind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File(_) => "file",
            Self::Symlink(_) => "symlink",
        }
    }
}

impl Node {
    /// A directory of root's with the usual permissions.
    pub fn directory(origin: Origin) -> Self {
        Self { kind: NodeKind::Directory, mode: 0o755, uid: 0, gid: 0, origin }
    }

    /// A file of root's.
    pub fn file(content: Content, mode: u16, origin: Origin) -> Self {
        Self { kind: NodeKind::File(content), mode, uid: 0, gid: 0, origin }
    }

    /// A symlink of root's.
    pub fn symlink(target: impl Into<String>, origin: Origin) -> Self {
        Self { kind: NodeKind::Symlink(target.into()), mode: 0o777, uid: 0, gid: 0, origin }
    }
}

impl Default for Tree {
    fn default() -> Self {
        let nodes = BTreeMap::from([(TreePath::root(), Node::directory(Origin::Builder))]);
        Self { nodes }
    }
}

impl Tree {
    /// Adds or replaces an entry and makes its parents. A directory stays what it is when it is
    /// named again with other permissions: the later owner and mode win, its entries remain.
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<(), TreeError> {
        if let Some(old) = self.nodes.get(&path) {
            let was_directory = matches!(old.kind, NodeKind::Directory);
            let is_directory = matches!(node.kind, NodeKind::Directory);
            if was_directory != is_directory {
                let (was, wanted) = (old.kind.name(), node.kind.name());
                return Err(TreeError::KindConflict { path, was, wanted });
            }
        }
        self.make_parents(&path)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Makes all missing parents, or none if one of them can't be.
    fn make_parents(&mut self, path: &TreePath) -> Result<(), TreeError> {
        let mut missing = Vec::new();
        let mut next = path.parent();
        while let Some(parent) = next {
            match self.nodes.get(&parent).map(|node| &node.kind) {
                Some(NodeKind::Directory) => break,
                Some(other) => {
                    let was = other.name();
                    return Err(TreeError::KindConflict { path: parent, was, wanted: "directory" });
                }
                None => {
                    next = parent.parent();
                    missing.push(parent);
                }
            }
        }
        let implied = |parent| (parent, Node::directory(Origin::Implied));
        self.nodes.extend(missing.into_iter().map(implied));
        Ok(())
    }

    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub fn contains(&self, path: &TreePath) -> bool {
        self.nodes.contains_key(path)
    }

    /// All entries in path order, the root first.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.nodes.iter()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never true: `/` is always there.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).expect("a good path")
    }

    #[test]
    fn paths_that_could_escape_are_refused() {
        for bad in ["usr", "", "/usr/../etc", "/usr//bin", "/usr/", "/./usr", "/a\nb"] {
            assert!(TreePath::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(TreePath::new(&format!("/{}", "x".repeat(256))).is_err());
    }

    #[test]
    fn parents_are_made_and_never_replaced_by_files() {
        let mut tree = Tree::default();
        let file = Node::file(Content::from_bytes(*b"x"), 0o644, Origin::Builder);
        tree.insert(path("/usr/lib/x"), file.clone()).expect("inserted");
        assert!(tree.contains(&path("/usr/lib")));
        assert!(tree.insert(path("/usr/lib"), file.clone()).is_err());
        assert!(tree.insert(path("/usr/lib/x/y/z"), file).is_err());
        assert!(!tree.contains(&path("/usr/lib/x/y")), "a refused entry leaves no parents behind");
    }

    #[test]
    fn the_parent_of_a_top_level_entry_is_the_root() {
        assert_eq!(path("/usr").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        assert_eq!(TreePath::root().join("usr").expect("joined"), path("/usr"));
    }
}
