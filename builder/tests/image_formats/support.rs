//! What the image tests share: small trees, and the foreign tools that judge our output.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use builder::build::source::Reach;
use builder::progress::Progress;
use builder::project::cache_folder;
use builder::root::content::Content;
use builder::root::tree::{Node, Origin, Tree, TreePath};
use builder::tools::{ORACLES, Unpacked};

/// A path that the test knows to be good.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a good path")
}

/// Adds a file of root's.
pub(crate) fn add_file(tree: &mut Tree, at: &str, bytes: &[u8], mode: u16) {
    let node = Node::file(Content::from_bytes(bytes), mode, Origin::Builder);
    tree.insert(path(at), node).expect("inserted");
}

/// Adds a symlink.
pub(crate) fn add_symlink(tree: &mut Tree, at: &str, target: &str) {
    tree.insert(path(at), Node::symlink(target, Origin::Builder)).expect("inserted");
}

/// The tools that the builder itself fetches from Debian; none where no mirror can be reached.
pub(crate) fn fetched() -> Option<&'static Unpacked> {
    static TOOLS: OnceLock<Option<Unpacked>> = OnceLock::new();
    let fetch = || {
        let cache = cache_folder(None).ok()?;
        match ORACLES.obtain(&cache, &Reach::default(), &Progress::new(false)) {
            Ok(unpacked) => Some(unpacked),
            Err(error) => {
                println!("no fetched tools: {error}");
                None
            }
        }
    };
    TOOLS.get_or_init(fetch).as_ref()
}

/// Finds a tool by the environment (`E2FSCK=/path`), among those that the builder fetches, or in the
/// usual folders. A test that gets none says so and passes: the tool only is a second opinion.
pub(crate) fn oracle(tool: &str) -> Option<PathBuf> {
    let variable = tool.to_uppercase().replace(['.', '-'], "_");
    if let Some(named) = std::env::var_os(&variable) {
        return Some(named.into());
    }
    let fetched = fetched().map(|tools| tools.program(tool)).filter(|path| path.is_file());
    if fetched.is_some() {
        return fetched;
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&search).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(tool)).find(|candidate| candidate.is_file());
    if found.is_none() {
        println!("skipped: {tool} is not there; name it with {variable}=/path/to/{tool}");
    }
    found
}

/// Runs a tool and wants success.
pub(crate) fn run(tool: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(tool).args(arguments).output().expect("the tool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}\n{}\n{}",
        tool.display(),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}
