//! `[cluster]`: the site and all of its nodes, the same text in every node's seed.

use std::net::IpAddr;

use crate::reader::section;
use crate::scalar::{NodeName, Word};
use crate::section::Role;

section! {
    /// A node of the site, as the others see it.
    ClusterNode {
        /// The node's name.
        name: NodeName = required;
        /// What it does.
        roles: Vec<Role> = required;
        /// The addresses under which the other nodes reach it, the preferred one first.
        addresses: Vec<IpAddr> = required;
    }
}

section! {
    /// The site. Write it identically into the seed of each node.
    Cluster {
        /// The site's name; certificates and records carry it.
        name: Word = required;
        /// All nodes, this one included.
        nodes: Vec<ClusterNode> = required;
    }
    stand_in = "name = 'unread'\nnodes = []";
}

impl Cluster {
    /// The nodes that have a role, in the order of the seed.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &ClusterNode> {
        self.nodes.iter().filter(move |node| node.roles.contains(&role))
    }

    /// The node of this name.
    pub fn node(&self, name: &NodeName) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.name == *name)
    }
}
