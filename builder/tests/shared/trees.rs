//! Putting made-up files into a tree.

use builder::root::content::Content;
use builder::root::tree::{Node, Origin, Tree, TreePath};

/// A path that the test knows to be good.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a good path")
}

/// Adds a file of root's.
pub(crate) fn add_file(tree: &mut Tree, at: &str, bytes: &[u8], mode: u16) {
    let node = Node::file(Content::from_bytes(bytes), mode, Origin::Builder);
    tree.insert(path(at), node).expect("inserted");
}
