//! The shared-library closure: everything that the kept ELF files need, and nothing else.
//!
//! Debian's dependency lists are far larger than what a program loads: they bring perl, LLVM and
//! documentation. So libraries are looked for by name, as the dynamic loader would, first in the
//! tree, then in the packages that the needing package depends on, the likeliest first. A package
//! that turns out to hold nothing that is needed is never fetched, or at least leaves nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seed::manifest::PackageRecord;
use thiserror::Error;

use super::content::Content;
use super::elf::{self, ElfError};
use super::tree::{Node, NodeKind, Origin, Tree, TreeError, TreePath};

/// A chain of symlinks longer than this is a loop.
const SYMLINK_CHAIN_MAX: usize = 16;

/// The files of one package.
pub type Files = Arc<BTreeMap<TreePath, Node>>;

/// Where packages come from; the archive in real life, a table in tests.
pub trait PackageSource {
    /// The files of a package, by its name.
    fn files(&self, package: &str) -> Result<Files, PackageSourceError>;
    /// Everything that a package depends on, the nearest first.
    fn dependencies_of(&self, package: &str) -> Vec<String>;
    /// Versions and hashes of packages, in order of their names.
    fn records(&self, packages: &BTreeSet<&str>) -> Vec<PackageRecord>;
}

/// Why a package can't be had; its message says all there is to say.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct PackageSourceError(pub Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug, Error)]
pub enum ClosureError {
    #[error("{path} {source}")]
    Elf { path: TreePath, source: ElfError },
    #[error("{path}: {source}")]
    Read { path: TreePath, source: std::io::Error },
    #[error(
        "{path} needs {library}, which neither the tree nor any of the {asked} packages that \
         {package} depends on has: name its package in an overlay"
    )]
    Missing { path: TreePath, library: String, package: String, asked: usize },
    #[error("{0} is a symlink in a circle")]
    Circle(TreePath),
    #[error(transparent)]
    Source(#[from] PackageSourceError),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Adds what is missing to a tree.
pub struct Closure<'a> {
    tree: &'a mut Tree,
    source: &'a dyn PackageSource,
    /// `/usr/lib/x86_64-linux-gnu`, where libraries are looked for first.
    library_folder: String,
    queue: VecDeque<(TreePath, String)>,
    /// Packages that something was taken from: they are here already, so asking them costs nothing.
    used: BTreeSet<String>,
}

impl std::fmt::Debug for Closure<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closure").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<'a> Closure<'a> {
    /// Prepares to complete `tree` for programs whose libraries lie below `/usr/lib/TRIPLET`.
    pub fn new(tree: &'a mut Tree, source: &'a dyn PackageSource, triplet: &str) -> Self {
        let library_folder = format!("/usr/lib/{triplet}");
        Self { tree, source, library_folder, queue: VecDeque::new(), used: BTreeSet::new() }
    }

    /// Completes the tree for every ELF file that is in it now.
    pub fn complete(mut self) -> Result<(), ClosureError> {
        let from_packages: Vec<(TreePath, String)> = self
            .tree
            .iter()
            .filter(|(path, node)| is_candidate(path, node))
            .filter_map(|(path, node)| match &node.origin {
                Origin::Package { package, .. } | Origin::Library { package, .. } => {
                    Some((path.clone(), package.clone()))
                }
                Origin::Implied | Origin::Builder | Origin::Overlay(_) => None,
            })
            .collect();
        self.used.extend(from_packages.iter().map(|(_, package)| package.clone()));
        self.queue.extend(from_packages);
        while let Some((path, package)) = self.queue.pop_front() {
            self.supply(&path, &package)?;
        }
        Ok(())
    }

    fn supply(&mut self, path: &TreePath, package: &str) -> Result<(), ClosureError> {
        let Some(bytes) = self.elf_bytes(path)? else {
            return Ok(());
        };
        let fail = |source| ClosureError::Elf { path: path.clone(), source };
        let needs = elf::needs(&bytes).map_err(fail)?;
        let mut folders = search_folders(path, &needs.search);
        folders.push(self.library_folder.clone());
        folders.push("/usr/lib".to_owned());
        for library in &needs.libraries {
            let places: Vec<TreePath> = folders
                .iter()
                .filter_map(|folder| TreePath::new(&format!("{folder}/{library}")).ok())
                .collect();
            self.find(path, package, library, &places)?;
        }
        if let Some(interpreter) = &needs.interpreter {
            let place = merged_usr(interpreter);
            let places: Vec<TreePath> = TreePath::new(&place).into_iter().collect();
            self.find(path, package, interpreter, &places)?;
        }
        Ok(())
    }

    fn elf_bytes(&self, path: &TreePath) -> Result<Option<Vec<u8>>, ClosureError> {
        let Some(NodeKind::File(content)) = self.tree.get(path).map(|node| &node.kind) else {
            return Ok(None);
        };
        let fail = |source| ClosureError::Read { path: path.clone(), source };
        if !starts_as_elf(content).map_err(fail)? {
            return Ok(None);
        }
        content.to_vec().map(Some).map_err(fail)
    }

    /// Makes sure that one of the places exists, by taking it from a package if need be.
    fn find(
        &mut self,
        needed_by: &TreePath,
        package: &str,
        library: &str,
        places: &[TreePath],
    ) -> Result<(), ClosureError> {
        if places.iter().any(|place| self.tree.contains(place)) {
            return Ok(());
        }
        let mut candidates = self.source.dependencies_of(package);
        let asked = candidates.len();
        // The sort is stable, so packages of equal likeness stay in order of their distance.
        candidates.sort_by_key(|name| {
            (Reverse(self.used.contains(name)), Reverse(likeness(name, library)))
        });
        candidates.insert(0, package.to_owned());
        for candidate in candidates {
            let files = self.source.files(&candidate)?;
            if let Some(place) = places.iter().find(|place| files.contains_key(*place)) {
                return self.take(place, &candidate, &files, needed_by);
            }
        }
        let (path, package) = (needed_by.clone(), package.to_owned());
        Err(ClosureError::Missing { path, library: library.to_owned(), package, asked })
    }

    /// Takes a file, and what it leads to if it is a symlink, from a package.
    fn take(
        &mut self,
        place: &TreePath,
        package: &str,
        files: &Files,
        needed_by: &TreePath,
    ) -> Result<(), ClosureError> {
        let mut path = place.clone();
        for _ in 0..SYMLINK_CHAIN_MAX {
            let Some(node) = files.get(&path) else {
                // The link leads into another package: it is looked for like any library.
                let name = path.name().to_owned();
                return self.find(needed_by, package, &name, std::slice::from_ref(&path));
            };
            let mut node = node.clone();
            let needed_by = needed_by.clone();
            node.origin = Origin::Library { package: package.to_owned(), needed_by };
            let next = match &node.kind {
                NodeKind::Symlink(target) => Some(resolve_link(&path, target)?),
                NodeKind::File(_) | NodeKind::Directory => None,
            };
            self.tree.insert(path.clone(), node)?;
            let Some(next) = next else {
                self.used.insert(package.to_owned());
                self.queue.push_back((path, package.to_owned()));
                return Ok(());
            };
            path = next;
        }
        Err(ClosureError::Circle(place.clone()))
    }
}

/// Kernel modules are ELF files too, but nobody loads them with libraries.
fn is_candidate(path: &TreePath, node: &Node) -> bool {
    matches!(node.kind, NodeKind::File(_)) && !path.as_str().contains(".ko")
}

fn starts_as_elf(content: &Content) -> std::io::Result<bool> {
    let mut start = [0; elf::MAGIC.len()];
    if content.len() < start.len() as u64 {
        return Ok(false);
    }
    content.read_exact_at(&mut start, 0)?;
    Ok(start == elf::MAGIC)
}

/// The folders of `RUNPATH`, with `$ORIGIN` replaced by the folder of the file itself.
fn search_folders(path: &TreePath, search: &[String]) -> Vec<String> {
    let own = path.parent().unwrap_or_else(TreePath::root);
    search
        .iter()
        .map(|folder| merged_usr(&folder.replace("$ORIGIN", own.as_str())))
        .filter_map(|folder| normalise(&folder))
        .collect()
}

/// Where a path of the old layout lies: `/bin`, `/sbin` and `/lib*` are symlinks into `/usr`.
pub fn merged_usr(path: &str) -> String {
    const MOVED: [&str; 4] = ["/bin/", "/sbin/", "/lib/", "/lib64/"];
    if MOVED.iter().any(|folder| path.starts_with(folder)) {
        format!("/usr{path}")
    } else {
        path.to_owned()
    }
}

/// The path that a symlink leads to, without looking whether it is there.
pub fn resolve_link(link: &TreePath, target: &str) -> Result<TreePath, TreeError> {
    let absolute = if target.starts_with('/') {
        target.to_owned()
    } else {
        let folder = link.parent().unwrap_or_else(TreePath::root);
        format!("{folder}/{target}")
    };
    let normal = normalise(&absolute).ok_or_else(|| TreeError::NotNormal(target.to_owned()))?;
    TreePath::new(&merged_usr(&normal))
}

/// Removes `.` and `..`; nothing when the path would climb above the root.
fn normalise(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// How much of a library's name a package's name repeats: `libzstd.so.1` is in `libzstd1`.
fn likeness(package: &str, library: &str) -> usize {
    let file = library.rsplit('/').next().unwrap_or(library);
    let plain = |text: &str| text.to_lowercase().replace(['.', '-', '_', '+'], "");
    let stem = plain(file.split(".so").next().unwrap_or(file));
    let name = plain(package.split(':').next().unwrap_or(package));
    let common = stem.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    // `lib` alone says nothing, and the loader and the C library are all in one package.
    let in_c_library = ["libc", "libm", "libdl", "libpthread", "librt", "ldlinux", "libresolv"];
    let of_c_library =
        in_c_library.iter().any(|known| stem == *known || stem.starts_with("ldlinux"));
    if of_c_library && name == "libc6" { usize::MAX } else { common }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Table(BTreeMap<String, (Files, Vec<String>)>);

    impl PackageSource for Table {
        fn files(&self, package: &str) -> Result<Files, PackageSourceError> {
            let known = self.0.get(package).map(|(files, _)| files.clone());
            known.ok_or_else(|| PackageSourceError(format!("asked for {package}").into()))
        }

        fn records(&self, _: &BTreeSet<&str>) -> Vec<PackageRecord> {
            Vec::new()
        }

        fn dependencies_of(&self, package: &str) -> Vec<String> {
            self.0.get(package).map(|(_, needs)| needs.clone()).unwrap_or_default()
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text).expect("a path")
    }

    fn own_executable() -> Content {
        Content::from_bytes(std::fs::read(std::env::current_exe().expect("a path")).expect("read"))
    }

    fn library(package: &str, names: &[(&str, NodeKind)]) -> (String, (Files, Vec<String>)) {
        let node =
            |kind: &NodeKind| Node { kind: kind.clone(), ..Node::directory(Origin::Implied) };
        let files = names.iter().map(|(name, kind)| (path(name), node(kind))).collect();
        (package.to_owned(), (Arc::new(files), Vec::new()))
    }

    /// A tree with one executable: this test, which needs the C library, `libgcc_s` and the loader.
    fn tree_with_program() -> Tree {
        let mut tree = Tree::default();
        let origin = Origin::Package { package: "app".to_owned(), overlay: "lab".to_owned() };
        let node = Node::file(own_executable(), 0o755, origin);
        tree.insert(path("/usr/bin/app"), node).expect("inserted");
        tree
    }

    fn c_library() -> (String, (Files, Vec<String>)) {
        let data = || NodeKind::File(Content::from_bytes(*b"data"));
        let link = |target: &str| NodeKind::Symlink(target.to_owned());
        library(
            "libc6",
            &[
                ("/usr/lib/x86_64-linux-gnu/libc.so.6", data()),
                ("/usr/lib/x86_64-linux-gnu/libm.so.6", data()),
                ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", data()),
                (
                    "/usr/lib64/ld-linux-x86-64.so.2",
                    link("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
                ),
            ],
        )
    }

    #[test]
    fn libraries_come_from_dependencies_with_what_their_links_lead_to() {
        let gcc = library(
            "libgcc-s1",
            &[(
                "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
                NodeKind::File(Content::from_bytes(*b"data")),
            )],
        );
        let needs = vec!["perl".to_owned(), "libgcc-s1".to_owned(), "libc6".to_owned()];
        let app = ("app".to_owned(), (Files::default(), needs));
        // `perl` is not in the table: were it asked for, the closure would fail.
        let source = Table(BTreeMap::from([app, gcc, c_library()]));
        let mut tree = tree_with_program();
        let closure = Closure::new(&mut tree, &source, "x86_64-linux-gnu");
        closure.complete().expect("complete");
        assert!(tree.contains(&path("/usr/lib/x86_64-linux-gnu/libc.so.6")));
        assert!(tree.contains(&path("/usr/lib64/ld-linux-x86-64.so.2")));
        assert!(tree.contains(&path("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")));
    }

    #[test]
    fn a_library_that_nobody_has_is_named_with_the_mend() {
        let app = ("app".to_owned(), (Files::default(), Vec::new()));
        let source = Table(BTreeMap::from([app]));
        let mut tree = tree_with_program();
        let error = Closure::new(&mut tree, &source, "x86_64-linux-gnu").complete();
        let message = error.expect_err("nothing has it").to_string();
        assert!(message.starts_with("/usr/bin/app needs lib"), "{message}");
        assert!(message.ends_with("name its package in an overlay"), "{message}");
    }

    #[test]
    fn links_are_resolved_inside_the_tree_only() {
        let link = path("/usr/lib64/ld.so");
        assert_eq!(resolve_link(&link, "../lib/x").expect("inside"), path("/usr/lib/x"));
        assert_eq!(resolve_link(&link, "/lib/x").expect("merged"), path("/usr/lib/x"));
        assert!(resolve_link(&link, "../../../etc").is_err());
    }

    #[test]
    fn the_likeliest_package_is_asked_first() {
        assert!(likeness("libzstd1", "libzstd.so.1") > likeness("libz3-4", "libzstd.so.1"));
        assert!(likeness("libc6", "libm.so.6") > likeness("libmount1", "libm.so.6"));
        assert!(likeness("libssl3t64", "libcrypto.so.3") < likeness("libcrypto", "libcrypto.so.3"));
    }
}
