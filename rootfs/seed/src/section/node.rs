//! `[node]` and `[debug]`: who the node is, and how much it lets you see.

use crate::reader::{choice, section};
use crate::scalar::NodeName;

choice! {
    /// What a node does at its site.
    Role ("role") {
        /// Member of the PostgreSQL pair; needs `[database]`.
        Database = "database",
        /// K3s server: runs the Kubernetes API; needs `[k3s]`.
        Server = "server",
        /// K3s agent: runs workloads only; needs `[k3s]`.
        Agent = "agent",
        /// Load balancer; needs `[balancer]`.
        Balancer = "balancer",
        /// Member of an etcd cluster; needs `[etcd]`.
        Etcd = "etcd",
        /// Third voter for database pairs; needs `[witness]`.
        Witness = "witness",
        /// Private image registry; needs `[registry]`.
        Registry = "registry",
        /// PostgreSQL member managed by Patroni; needs `[patroni]` and `[database]`.
        Patroni = "patroni",
    }
}

choice! {
    /// How important a line must be to be shown on the console.
    ConsoleLevel ("console level") {
        /// Only what needs a person.
        Error = "error",
        /// What might.
        Warning = "warning",
        /// What happens.
        Info = "info",
        /// Everything.
        Debug = "debug",
    }
}

section! {
    /// Who this node is.
    Node {
        /// The node's host name and its name in Kubernetes.
        name: NodeName = required;
        /// What the node does; the same list as under its name in `[[cluster.nodes]]`.
        roles: Vec<Role> = required;
    }
    stand_in = "name = 'unread'\nroles = []";
}

section! {
    /// Help for finding faults. A shell exists only in images that were built with one.
    Debug {
        /// Keeps a root shell on the kernel's last console, without a password, if the image has one.
        shell: bool = default("false");
        /// What the console shows.
        console_level: ConsoleLevel = default("'info'");
    }
}
