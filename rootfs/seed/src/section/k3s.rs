//! `[k3s]`: Kubernetes, as server or as agent.

use std::net::IpAddr;

use crate::reader::{choice, section};
use crate::scalar::{
    Argument, HostName, Identifier, LinkName, Network, NodeLabel, NodeTaint, Port, Url,
};

choice! {
    /// Where Kubernetes keeps its data.
    Datastore ("datastore") {
        /// The site's own PostgreSQL, reached on its VIP by mutual TLS.
        Database = "database",
        /// etcd inside of K3s, on three or more servers.
        Etcd = "etcd",
        /// The etcd that nodes with the role "etcd" run.
        ExternalEtcd = "external-etcd",
        /// A PostgreSQL elsewhere; needs `[k3s.external]`.
        External = "external",
    }
}

choice! {
    /// How pods of different nodes reach each other.
    FlannelBackend ("flannel backend") {
        /// Tunnels; works on any network.
        Vxlan = "vxlan",
        /// Routes; all nodes must be on one network.
        HostGw = "host-gw",
        /// Encrypted tunnels.
        Wireguard = "wireguard-native",
        /// Another network plugin is deployed.
        None = "none",
    }
}

choice! {
    /// A component that K3s deploys unless it is disabled.
    Packaged ("packaged component") {
        /// Cluster DNS.
        Coredns = "coredns",
        /// The simple load balancer for services.
        Servicelb = "servicelb",
        /// The ingress controller.
        Traefik = "traefik",
        /// Volumes on the node's disk.
        LocalStorage = "local-storage",
        /// Resource metrics.
        MetricsServer = "metrics-server",
        /// Runtime classes.
        Runtimes = "runtimes",
    }
}

section! {
    /// A PostgreSQL that is not this site's. Certificates and password are in `[secrets]`.
    ExternalDatastore {
        /// Its host; the name must be in its certificate.
        host: HostName = required;
        /// Its port.
        port: Port = default("5432");
        /// The database.
        database: Identifier = default("'kubernetes'");
        /// The role to log in as.
        user: Identifier = default("'k3s'");
    }
}

section! {
    /// Where images of a registry are pulled from instead.
    Mirror {
        /// The registry as image names call it, such as "docker.io" or "172.16.16.151:5000".
        registry: Argument = required;
        /// Where to pull from, tried in this order.
        endpoints: Vec<Url> = required;
        /// Whether the certificates of the endpoints are left unverified.
        insecure: bool = default("false");
    }
}

section! {
    /// Kubernetes. The join token is in `[secrets]`.
    K3s {
        /// Whether K3s is started. `false` leaves only what it stands on, for tests of that.
        start: bool = default("true");
        /// Where Kubernetes keeps its data (servers only).
        datastore: Datastore = optional;
        /// The PostgreSQL for datastore "external".
        external: ExternalDatastore = optional;
        /// What this node joins: for agents the address of the servers or their balancer.
        server: Url = optional;
        /// Port of the Kubernetes API on the servers.
        port: Port = default("6443");
        /// Addresses of the API beyond the node's own: VIPs, balancers, names.
        tls_san: Vec<HostName> = default("[]");
        /// Networks of the pods, IPv4 and IPv6. The same on all servers.
        cluster_cidr: Vec<Network> = default("['10.42.0.0/16']");
        /// Networks of the services, IPv4 and IPv6. The same on all servers.
        service_cidr: Vec<Network> = default("['10.43.0.0/16']");
        /// Addresses of the cluster's DNS; the tenth of each service network if empty.
        cluster_dns: Vec<IpAddr> = default("[]");
        /// Packaged components that are not deployed.
        disable: Vec<Packaged> = default("[]");
        /// How pods of different nodes reach each other.
        flannel_backend: FlannelBackend = default("'vxlan'");
        /// The link that carries it; the one with the node's first address if absent.
        flannel_link: LinkName = optional;
        /// Labels of this node.
        node_labels: Vec<NodeLabel> = default("[]");
        /// Taints of this node.
        node_taints: Vec<NodeTaint> = default("[]");
        /// Whether secrets are encrypted in the datastore.
        secrets_encryption: bool = default("true");
        /// Whether the nodes share images with each other.
        embedded_registry: bool = default("false");
        /// Where images are pulled from.
        mirrors: Vec<Mirror> = default("[]");
        /// Arguments of the kubelet, as `"name=value"`.
        kubelet_args: Vec<Argument> = default("[]");
        /// Arguments of the API server.
        apiserver_args: Vec<Argument> = default("[]");
        /// Arguments of the controller manager.
        controller_manager_args: Vec<Argument> = default("[]");
        /// Arguments of the scheduler.
        scheduler_args: Vec<Argument> = default("[]");
        /// Arguments of kube-proxy.
        proxy_args: Vec<Argument> = default("[]");
    }
}
