//! Overlays and packages become the trees of an image.
//!
//! ```text
//!  overlays in order ─> packages' files ─> files/ ─> accounts ─> templates ─> modules
//!        ─> library closure ─> our binaries ─> manifest ─> checked: no two owners, no dangling link
//! ```

use std::collections::BTreeSet;

use seed::manifest::{
    FileMode, MANIFEST_PATH, Manifest, ManifestError, OverlayRecord, RENDERED_PATH, TEMPLATES_PATH,
};
use thiserror::Error;

use super::accounts::{AccountError, Accounts};
use super::closure::{
    Closure, ClosureError, Files, PackageSource, PackageSourceError, resolve_link,
};
use super::content::Content;
use super::definition::Definition;
use super::modules::{ModuleCatalogue, ModuleForm, ModuleSelection, ModulesError};
use super::origins;
use super::overlay::{Overlay, OverlayError};
use super::pick::{self, PickError};
use super::tree::{Node, NodeKind, Origin, Tree, TreeError, TreePath};

/// Where everything of ours lies on a node.
pub const OWN_FOLDER: &str = "/usr/lib/edgepair";
/// What the initramfs loads, in order; stage 1 reads it.
const EARLY_MODULES: &str = "/etc/edgepair/early-modules";
/// The package with the EFI stub and the boot loader.
pub const BOOT_PACKAGE: &str = "systemd-boot-efi";
/// Links may lead here although nothing is there at build time.
const RUNTIME_FOLDERS: [&str; 6] = ["/run", "/proc", "/dev", "/sys", "/state", "/tmp"];
/// Where the kernel and K3s look for the program that loads modules: the agent in another role.
const MODPROBE: &str = "/usr/sbin/modprobe";
/// The folders of the old layout and where they lie now.
const MERGED: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")];

#[derive(Debug, Error)]
pub enum ComposeError {
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error("overlay {overlay:?}: {source}")]
    Pick { overlay: String, source: PickError },
    #[error(transparent)]
    Source(#[from] PackageSourceError),
    #[error(transparent)]
    Closure(#[from] ClosureError),
    #[error(transparent)]
    Accounts(#[from] AccountError),
    #[error(transparent)]
    Modules(#[from] ModulesError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("overlay {overlay:?}: {path} belongs to {user:?}, which no overlay declares")]
    NoSuchUser { overlay: String, path: String, user: String },
    #[error(
        "overlay {overlay:?}: template {source_file} names {key:?}, which no seed has: see \
         rootfs/seed/REFERENCE.md for what there is"
    )]
    UnknownInput { overlay: String, source_file: String, key: String },
    #[error("{path} comes from {one} and from {other}, which differ: take it from one of them")]
    TwoOwners { path: TreePath, one: String, other: String },
    #[error("{link} leads to {target}, which is not there: drop the link or keep its target")]
    Dangling { link: TreePath, target: String },
    #[error("package {package} and what it depends on hold no {what}: name another package")]
    NoBootFile { package: String, what: &'static str },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("can't read {path}: {source}")]
    Read { path: String, source: std::io::Error },
}

/// Everything that an image is made of, before any of it is a disk.
#[derive(Debug)]
pub struct Composition {
    pub root: Tree,
    pub initramfs: Tree,
    pub kernel: Content,
    pub kernel_release: String,
    /// The EFI program that a UKI starts with.
    pub stub: Content,
    /// systemd-boot.
    pub boot_loader: Content,
    pub manifest: Manifest,
}

/// A file of ours or of a release that goes to a fixed place.
#[derive(Clone, Debug)]
pub struct Extra {
    pub path: String,
    pub content: Content,
    pub mode: u16,
}

/// What [`compose`] works from.
#[derive(Debug)]
pub struct Ingredients<'a> {
    pub definition: &'a Definition,
    pub overlays: &'a [Overlay],
    /// The node's own program, for both stages.
    pub init: Content,
    pub extras: Vec<Extra>,
    /// Links of ours, such as `kubectl`, which is K3s under another name.
    pub links: Vec<(String, String)>,
    /// The release of K3s, if the image has one.
    pub k3s_version: Option<String>,
    /// The time of the image, in Unix seconds.
    pub source_date: u64,
}

/// Puts the trees together.
pub fn compose(
    ingredients: Ingredients<'_>,
    source: &dyn PackageSource,
) -> Result<Composition, ComposeError> {
    let Ingredients { definition, overlays, init, extras, links, k3s_version, source_date } =
        ingredients;
    let mut root = lay_overlays(overlays, source)?;
    let kernel = find_kernel(definition, source)?;
    let catalogue = ModuleCatalogue::new(contents(&kernel.files))?;
    let wanted = wanted_modules(definition, overlays);
    let denied: Vec<&str> = denied_modules(overlays).collect();
    let selection = catalogue.select(wanted.iter().map(String::as_str))?;
    let selection = selection.without(denied.iter().copied());
    let origin = Origin::Package { package: kernel.package.clone(), overlay: "kernel".to_owned() };
    selection.install(&mut root, ModuleForm::Shipped, &origin)?;
    let early = early_modules(definition, &catalogue)?.without(denied);
    let initramfs = initramfs(definition, &early, &init, &origin)?;
    Closure::new(&mut root, source, definition.architecture.library_folder()).complete()?;

    let own = Extra { path: format!("{OWN_FOLDER}/init"), content: init, mode: 0o755 };
    lay_own(&mut root, extras.into_iter().chain([own]), links)?;
    let mut manifest = manifest_of(definition, overlays, &selection, source_date);
    for (record, overlay) in manifest.overlays.iter_mut().zip(overlays) {
        record.version = overlay.manifest.k3s.as_ref().and(k3s_version.clone());
    }
    let mut packages = packages_in([&root, &initramfs]);
    packages.insert(BOOT_PACKAGE);
    manifest.packages = source.records(&packages);
    manifest.check()?;
    lay_text(&mut root, "/etc/os-release", os_release(definition, &manifest))?;
    lay_text(&mut root, MANIFEST_PATH, manifest.to_json()?)?;
    check_links(&root)?;
    origins::add_to(&mut root)?;

    let efi = definition.architecture.efi();
    Ok(Composition {
        initramfs,
        kernel: kernel.image,
        kernel_release: catalogue.release().to_owned(),
        stub: boot_file(source, &format!("linux{efi}.efi.stub"), "EFI stub")?,
        boot_loader: boot_file(source, &format!("systemd-boot{efi}.efi"), "boot loader")?,
        root,
        manifest,
    })
}

/// Modules of an image's kernel by name, with what they need, unpacked and in the order of loading:
/// for a guest of a test that needs more than the image carries.
pub fn kernel_modules(
    definition: &Definition,
    source: &dyn PackageSource,
    names: &[&str],
) -> Result<Vec<(String, Vec<u8>)>, ComposeError> {
    let kernel = find_kernel(definition, source)?;
    let catalogue = ModuleCatalogue::new(contents(&kernel.files))?;
    let selection = catalogue.select(names.iter().copied())?;
    let modules = selection.in_load_order().into_iter();
    Ok(modules.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect())
}

/// Everything that the overlays say, in their order.
fn lay_overlays(overlays: &[Overlay], source: &dyn PackageSource) -> Result<Tree, ComposeError> {
    let mut root = Tree::default();
    for overlay in overlays {
        lay_packages(&mut root, overlay, source)?;
    }
    for overlay in overlays {
        for (path, node) in overlay.files()? {
            refuse_second_owner(&root, &path, &node)?;
            root.insert(path, node)?;
        }
    }
    let accounts = lay_accounts(&mut root, overlays)?;
    lay_directories(&mut root, overlays, &accounts)?;
    lay_mount_points(&mut root, overlays)?;
    for overlay in overlays {
        lay_templates(&mut root, overlay)?;
    }
    Ok(root)
}

/// What is ours: binaries, the release of K3s, and the links of the merged `/usr`.
fn lay_own(
    root: &mut Tree,
    extras: impl Iterator<Item = Extra>,
    links: Vec<(String, String)>,
) -> Result<(), ComposeError> {
    for extra in extras {
        let node = Node::file(extra.content, extra.mode, Origin::Builder);
        root.insert(TreePath::new(&extra.path)?, node)?;
    }
    let own = MERGED.into_iter().chain([(MODPROBE, "../lib/edgepair/init")]);
    let own = own.map(|(link, target)| (link.to_owned(), target.to_owned()));
    for (link, target) in links.into_iter().chain(own) {
        root.insert(TreePath::new(&link)?, Node::symlink(target, Origin::Builder))?;
    }
    Ok(())
}

/// An EFI program of systemd's.
fn boot_file(
    source: &dyn PackageSource,
    name: &str,
    what: &'static str,
) -> Result<Content, ComposeError> {
    let path = format!("/usr/lib/systemd/boot/efi/{name}");
    let files = source.files(BOOT_PACKAGE)?;
    let found = contents(&files).find(|(known, _)| known.as_str() == path);
    let missing = || ComposeError::NoBootFile { package: BOOT_PACKAGE.to_owned(), what };
    found.map(|(_, content)| content.clone()).ok_or_else(missing)
}

/// The regular files of a package.
fn contents(files: &Files) -> impl Iterator<Item = (&TreePath, &Content)> {
    files.iter().filter_map(|(path, node)| match &node.kind {
        NodeKind::File(content) => Some((path, content)),
        NodeKind::Directory | NodeKind::Symlink(_) => None,
    })
}

fn lay_packages(
    root: &mut Tree,
    overlay: &Overlay,
    source: &dyn PackageSource,
) -> Result<(), ComposeError> {
    for wish in &overlay.manifest.packages {
        let files = source.files(&wish.name)?;
        let picked = pick::pick(wish, &files)
            .map_err(|source| ComposeError::Pick { overlay: overlay.name.clone(), source })?;
        for (path, mut node) in picked {
            node.origin =
                Origin::Package { package: wish.name.clone(), overlay: overlay.name.clone() };
            refuse_second_owner(root, &path, &node)?;
            root.insert(path, node)?;
        }
    }
    Ok(())
}

/// Two overlays may both ask for the same file of the same package, and for nothing else twice.
fn refuse_second_owner(root: &Tree, path: &TreePath, node: &Node) -> Result<(), ComposeError> {
    let Some(old) = root.get(path) else {
        return Ok(());
    };
    let same = match (&old.kind, &node.kind) {
        (NodeKind::Directory, NodeKind::Directory) => true,
        (NodeKind::File(one), NodeKind::File(other)) => one.id() == other.id(),
        (NodeKind::Symlink(one), NodeKind::Symlink(other)) => one == other,
        _ => false,
    };
    if same {
        return Ok(());
    }
    let (one, other) = (old.origin.to_string(), node.origin.to_string());
    Err(ComposeError::TwoOwners { path: path.clone(), one, other })
}

fn lay_accounts(root: &mut Tree, overlays: &[Overlay]) -> Result<Accounts, ComposeError> {
    let users = overlays.iter().flat_map(|overlay| overlay.manifest.users.iter().cloned());
    let accounts = Accounts::new(users)?;
    lay_text(root, "/etc/passwd", accounts.passwd())?;
    lay_text(root, "/etc/group", accounts.group())?;
    Ok(accounts)
}

fn lay_directories(
    root: &mut Tree,
    overlays: &[Overlay],
    accounts: &Accounts,
) -> Result<(), ComposeError> {
    for overlay in overlays {
        for directory in &overlay.manifest.directories {
            let mut node = Node::directory(Origin::Overlay(overlay.name.clone()));
            node.mode = permission_bits(directory.mode);
            if let Some(user) = &directory.user {
                let Some(account) = accounts.get(user) else {
                    return Err(ComposeError::NoSuchUser {
                        overlay: overlay.name.clone(),
                        path: directory.path.clone(),
                        user: user.clone(),
                    });
                };
                (node.uid, node.gid) = (account.id, account.id);
            }
            root.insert(TreePath::new(&directory.path)?, node)?;
        }
    }
    Ok(())
}

/// A folder of the state partition that shows at another path needs something to be mounted over.
fn lay_mount_points(root: &mut Tree, overlays: &[Overlay]) -> Result<(), ComposeError> {
    for overlay in overlays {
        for mount in overlay.manifest.state.iter().filter_map(|folder| folder.mount.as_ref()) {
            let node = Node::directory(Origin::Overlay(overlay.name.clone()));
            root.insert(TreePath::new(mount.as_str())?, node)?;
        }
    }
    Ok(())
}

/// A template's text goes where the node finds it, and its path becomes a link to what the node
/// will have made of it.
fn lay_templates(root: &mut Tree, overlay: &Overlay) -> Result<(), ComposeError> {
    let origin = Origin::Overlay(overlay.name.clone());
    for template in &overlay.manifest.templates {
        for key in template.inputs.iter().chain(&template.when) {
            if !seed::render::knows_input(key) {
                return Err(ComposeError::UnknownInput {
                    overlay: overlay.name.clone(),
                    source_file: template.source.clone(),
                    key: key.clone(),
                });
            }
        }
        let text = overlay.template(&template.source)?;
        let stored = format!("{TEMPLATES_PATH}/{}/{}", overlay.name, template.source);
        let node = Node::file(Content::from_bytes(text), 0o644, origin.clone());
        root.insert(TreePath::new(&stored)?, node)?;
        let path = TreePath::new(template.path.as_str())?;
        let link = Node::symlink(format!("{RENDERED_PATH}{path}"), origin.clone());
        refuse_second_owner(root, &path, &link)?;
        root.insert(path, link)?;
    }
    Ok(())
}

struct FoundKernel {
    package: String,
    files: Files,
    image: Content,
}

/// The definition may name a metapackage; the kernel is in what that depends on.
fn find_kernel(
    definition: &Definition,
    source: &dyn PackageSource,
) -> Result<FoundKernel, ComposeError> {
    let named = &definition.kernel.package;
    let dependencies = source.dependencies_of(named);
    let images = dependencies.iter().filter(|name| name.starts_with("linux-image-"));
    for package in [named].into_iter().chain(images) {
        let files = source.files(package)?;
        let found = contents(&files).find(|(path, _)| path.as_str().starts_with("/boot/vmlinuz-"));
        if let Some(image) = found.map(|(_, content)| content.clone()) {
            return Ok(FoundKernel { package: package.clone(), files, image });
        }
    }
    Err(ComposeError::NoBootFile { package: named.clone(), what: "kernel" })
}

fn wanted_modules(definition: &Definition, overlays: &[Overlay]) -> BTreeSet<String> {
    let kernel = &definition.kernel;
    let of_initramfs = kernel.early_modules.iter().chain(&kernel.initramfs_modules);
    let of_image = of_initramfs.chain(&kernel.modules);
    let of_overlays = overlays.iter().flat_map(|overlay| {
        overlay.manifest.modules.load.iter().chain(&overlay.manifest.modules.keep)
    });
    of_image.chain(of_overlays).cloned().collect()
}

fn denied_modules(overlays: &[Overlay]) -> impl Iterator<Item = &str> {
    overlays.iter().flat_map(|overlay| overlay.manifest.modules.deny.iter().map(String::as_str))
}

/// What the initramfs carries.
fn early_modules(
    definition: &Definition,
    catalogue: &ModuleCatalogue,
) -> Result<ModuleSelection, ModulesError> {
    let kernel = &definition.kernel;
    let names = kernel.early_modules.iter().chain(&kernel.initramfs_modules);
    catalogue.select(names.map(String::as_str))
}

fn initramfs(
    definition: &Definition,
    selection: &ModuleSelection,
    init: &Content,
    kernel: &Origin,
) -> Result<Tree, ComposeError> {
    let names = &definition.kernel.early_modules;
    let mut tree = Tree::default();
    selection.install(&mut tree, ModuleForm::Unpacked, kernel)?;
    // What is compiled into this kernel need not be loaded, and is not in the index.
    let loaded: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| selection.contains(name)).collect();
    lay_text(&mut tree, EARLY_MODULES, loaded.join("\n") + "\n")?;
    for folder in ["/dev", "/proc", "/sys", "/sysroot"] {
        tree.insert(TreePath::new(folder)?, Node::directory(Origin::Builder))?;
    }
    let node = Node::file(init.clone(), 0o755, Origin::Builder);
    tree.insert(TreePath::new("/init")?, node)?;
    // The kernel starts this when it wants a module: a checksum for a filesystem, for example.
    tree.insert(TreePath::new("/sbin/modprobe")?, Node::symlink("/init", Origin::Builder))?;
    Ok(tree)
}

/// A `FileMode` holds no more than these twelve bits.
fn permission_bits(mode: FileMode) -> u16 {
    u16::try_from(mode.bits() & 0o7777).unwrap_or(0)
}

fn lay_text(tree: &mut Tree, path: &str, text: String) -> Result<(), TreeError> {
    let content = Content::from_bytes(text.into_bytes());
    tree.insert(TreePath::new(path)?, Node::file(content, 0o644, Origin::Builder))
}

fn os_release(definition: &Definition, manifest: &Manifest) -> String {
    format!(
        "ID=edgepair\nNAME=\"Edgepair\"\nPRETTY_NAME=\"Edgepair {name} {version}\"\n\
         VERSION_ID={version}\nIMAGE_ID={name}\nIMAGE_VERSION={version}\nBUILD_ID={date}\n",
        name = definition.name,
        version = definition.version,
        date = manifest.source_date,
    )
}

/// Every link must lead somewhere: one that doesn't is a file that a program will miss.
fn check_links(root: &Tree) -> Result<(), ComposeError> {
    for (path, node) in root.iter() {
        let NodeKind::Symlink(target) = &node.kind else {
            continue;
        };
        let dangling = || ComposeError::Dangling { link: path.clone(), target: target.clone() };
        let leads_to = resolve_link(path, target).map_err(|_| dangling())?;
        let at_run_time = RUNTIME_FOLDERS
            .iter()
            .any(|folder| leads_to.as_str().starts_with(&format!("{folder}/")));
        if !at_run_time && !root.contains(&leads_to) {
            return Err(dangling());
        }
    }
    Ok(())
}

/// What the definition and the overlays say of the image.
fn manifest_of(
    definition: &Definition,
    overlays: &[Overlay],
    selection: &ModuleSelection,
    source_date: u64,
) -> Manifest {
    let architecture = definition.architecture.debian();
    let Definition { name, version, .. } = definition;
    let mut manifest = Manifest::new(name, version, architecture, source_date);
    for overlay in overlays {
        let Overlay { name, manifest: wishes, .. } = overlay;
        manifest.overlays.push(OverlayRecord { name: name.clone(), version: None });
        manifest.stand_in |= wishes.stand_in;
        manifest.debug |= wishes.debug;
        manifest.users.extend(wishes.users.iter().cloned());
        let loaded = wishes.modules.load.iter().filter(|name| selection.contains(name));
        manifest.modules.extend(loaded.cloned());
        manifest.sysctls.extend(wishes.sysctls.clone());
        manifest.state.extend(wishes.state.iter().cloned());
        manifest.services.extend(wishes.services.iter().cloned());
        manifest.templates.extend(overlay.templates());
    }
    manifest
}

/// The packages that left something in a tree, by name.
pub fn packages_in<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> BTreeSet<&'a str> {
    let nodes = trees.into_iter().flat_map(|tree| tree.iter().map(|(_, node)| node));
    nodes
        .filter_map(|node| match &node.origin {
            Origin::Package { package, .. } | Origin::Library { package, .. } => Some(package),
            Origin::Implied | Origin::Builder | Origin::Overlay(_) => None,
        })
        .map(String::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).expect("a path")
    }

    fn tree_with_link(target: &str) -> Tree {
        let mut tree = Tree::default();
        let file = Node::file(Content::from_bytes(*b"x"), 0o644, Origin::Builder);
        tree.insert(path("/usr/lib/there"), file).expect("inserted");
        tree.insert(path("/usr/bin/link"), Node::symlink(target, Origin::Builder)).expect("linked");
        tree
    }

    #[test]
    fn a_link_must_lead_to_something_or_to_what_the_node_makes() {
        for good in ["../lib/there", "/lib/there", "/run/edgepair/rendered/etc/hosts"] {
            check_links(&tree_with_link(good)).expect(good);
        }
        for bad in ["../lib/absent", "/etc/absent", "../../../../outside", "/running"] {
            let error = check_links(&tree_with_link(bad)).expect_err(bad).to_string();
            assert!(error.starts_with("/usr/bin/link leads to"), "{error}");
        }
    }

    #[test]
    fn two_different_files_for_one_path_are_refused_with_both_owners() {
        let mut tree = Tree::default();
        let content = Content::from_bytes(*b"one");
        let of = |overlay: &str| Origin::Overlay(overlay.to_owned());
        let one = Node::file(content.clone(), 0o644, of("first"));
        tree.insert(path("/etc/x"), one).expect("inserted");
        let same = Node::file(content, 0o644, of("second"));
        refuse_second_owner(&tree, &path("/etc/x"), &same).expect("the same file twice is fine");
        let other = Node::file(Content::from_bytes(*b"two"), 0o644, of("second"));
        let error = refuse_second_owner(&tree, &path("/etc/x"), &other).expect_err("refused");
        let error = error.to_string();
        assert!(error.contains("overlay first") && error.contains("overlay second"), "{error}");
    }
}
