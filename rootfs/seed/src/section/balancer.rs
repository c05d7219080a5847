//! `[balancer]`: HAProxy or nginx on layer 4.

use std::net::IpAddr;

use crate::reader::{Reader, choice, section};
use crate::scalar::{BalancerConnections, Count, DurationText, HostName, Port, Share, Word};
use crate::section::Role;

choice! {
    /// Which program balances.
    BalancerKind ("balancer") {
        /// HAProxy, with active checks.
        Haproxy = "haproxy",
        /// nginx, which notices failures as clients meet them.
        Nginx = "nginx",
    }
}

choice! {
    /// How a server is chosen.
    Algorithm ("algorithm") {
        /// One after the other.
        RoundRobin = "roundrobin",
        /// The one with the fewest connections.
        LeastConn = "leastconn",
        /// By the client's address.
        Source = "source",
    }
}

section! {
    /// How HAProxy checks servers.
    ServerCheck {
        /// Time between two checks.
        interval: DurationText = default("'2s'");
        /// Failures in a row until a server is down.
        fall: Count = default("3");
        /// Successes in a row until it is up again.
        rise: Count = default("2");
    }
}

section! {
    /// A server behind a front end.
    Server {
        /// The server's name in logs.
        name: Word = required;
        /// Its host name or address.
        address: HostName = required;
        /// Its port; the front end's `server_port` if absent.
        port: Port = optional;
        /// Its share of the connections.
        weight: Share = default("1");
        /// Whether it is used only when all others are down.
        backup: bool = default("false");
    }
}

section! {
    /// A port that is balanced. Its servers are all nodes of a role, or a list.
    Frontend {
        /// The front end's name.
        name: Word = required;
        /// Addresses to listen on; empty means all of this node, and so its VIPs.
        listen: Vec<IpAddr> = default("[]");
        /// The port to listen on.
        port: Port = required;
        /// Balance over the nodes of this role.
        server_role: Role = optional;
        /// The port of the servers; the front end's own if absent.
        server_port: Port = optional;
        /// Balance over these servers.
        servers: Vec<Server> = default("[]");
    }
}

section! {
    /// Load balancer for TCP.
    Balancer {
        /// Which program balances.
        kind: BalancerKind = default("'haproxy'");
        /// How a server is chosen.
        algorithm: Algorithm = default("'roundrobin'");
        /// Largest number of connections.
        max_connections: BalancerConnections = default("4096");
        /// How long a server may take to accept.
        connect_timeout: DurationText = default("'5s'");
        /// How long a connection may be silent. Watches of Kubernetes are silent for long.
        idle_timeout: DurationText = default("'1h'");
        /// Active checks (HAProxy).
        check: ServerCheck = default("{}");
        /// Failed connections until a server is left alone (nginx).
        max_fails: Count = default("3");
        /// How long it is left alone (nginx).
        fail_timeout: DurationText = default("'5s'");
        /// The ports that are balanced.
        frontends: Vec<Frontend> = required;
    }
}

impl Server {
    /// A server of which only name and address are known.
    pub(crate) fn plain(name: &str, address: &str) -> Option<Self> {
        let text = format!("name = \"{name}\"\naddress = \"{address}\"\n");
        crate::reader::read_document(&mut Reader::new("", &text))
    }
}
