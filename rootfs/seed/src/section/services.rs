//! `[services]`, `[registry]`, `[operators]`, `[witness]`: small tables of small things.

use crate::reader::section;
use crate::scalar::{AbsolutePath, AddressRange, Bytes, Fingerprint, LinkName, Port, Word};

section! {
    /// Addresses that services of type LoadBalancer get, announced by MetalLB on layer 2.
    Pool {
        /// The pool's name.
        name: Word = default("'default'");
        /// Ranges such as "172.16.16.150-172.16.16.190", or networks.
        ranges: Vec<AddressRange> = required;
        /// Links to announce on; all if empty.
        links: Vec<LinkName> = default("[]");
        /// Whether services that ask for no pool get addresses of this one.
        auto_assign: bool = default("true");
    }
}

section! {
    /// What Kubernetes services may use from outside.
    Services {
        /// The address pool.
        pool: Pool = optional;
    }
}

section! {
    /// A private image registry on this node.
    Registry {
        /// Port to listen on.
        port: Port = default("5000");
        /// Space that images may take.
        storage: Bytes = default("'10GiB'");
        /// Directory on the node.
        directory: AbsolutePath = default("'/state/registry'");
        /// Whether it serves TLS with the node's certificate.
        tls: bool = default("true");
    }
}

section! {
    /// Who may control the node from afar, with `nodectl` and a certificate of the cluster's CA.
    Operators {
        /// SHA-256 fingerprints of the operators' certificates.
        fingerprints: Vec<Fingerprint> = required;
        /// Port to listen on.
        port: Port = default("7432");
    }
}

section! {
    /// The witness: one register on disk for each database pair that names this node.
    Witness {
        /// Port to listen on.
        port: Port = default("7431");
    }
}
