//! What the image tests share: symlinks in trees, and the foreign tools that judge our output.

use std::path::PathBuf;
use std::sync::OnceLock;

use builder::build::source::Reach;
use builder::progress::Progress;
use builder::project::cache_folder;
use builder::root::tree::{Node, Origin, Tree};
use builder::tools::{ORACLES, Unpacked};

use crate::shared::tools;
use crate::shared::trees::path;

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
/// usual folders.
pub(crate) fn oracle(tool: &str) -> Option<PathBuf> {
    if std::env::var_os(tools::variable(tool)).is_none() {
        let fetched = fetched().map(|tools| tools.program(tool)).filter(|path| path.is_file());
        if fetched.is_some() {
            return fetched;
        }
    }
    tools::oracle(tool)
}
