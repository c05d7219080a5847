//! The phase from which on the node can be asked: early, so that also a node without a seed tells
//! what it waits for.

use std::path::Path;

use control::{API_USER, SOCKET_PATH};

use crate::control::Server;
use crate::node::Node;
use crate::say;

/// Opens the control socket. Without it the node works, and says on its console how it is.
pub(super) fn listen(node: &mut Node) {
    let api = node.manifest.users.iter().find(|user| user.name == API_USER);
    match Server::bind(Path::new(SOCKET_PATH), api.map(|user| user.id)) {
        Ok(server) => node.listen(server),
        Err(error) => say!("{error}"),
    }
}
