//! The phase that brings up the STATE partition. A node without it goes on, and keeps nothing.

use crate::node::Node;
use crate::state;

pub(super) fn open(node: &mut Node) {
    (node.state, node.clock_floor) = state::open(&node.manifest);
}
