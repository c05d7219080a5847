//! Whole numbers with a range and a meaning.

use crate::reader::number;

number! {
    /// A TCP or UDP port; 0 is no port that a client could be told.
    Port, u16, 1, 65535, "port"
}

number! {
    /// A virtual router identifier of VRRP: two groups on one link must differ in it.
    Vrid, u8, 1, 255, "VRID"
}

number! {
    /// A VRRP priority. 255 means "this node owns the address", the rest are for backups.
    Priority, u8, 1, 255, "priority"
}

number! {
    /// How much a failing check changes a VRRP priority.
    Weight, i16, -253, 253, "weight"
}

number! {
    /// The tag of a VLAN.
    VlanId, u16, 1, 4094, "VLAN id"
}

number! {
    /// The largest packet of a link in bytes. IPv6 needs at least 1280.
    Mtu, u32, 1280, 65535, "packet size (MTU)"
}

number! {
    /// A count of things: attempts, connections, kept backups.
    Count, u32, 1, 1_000_000, "count"
}

number! {
    /// How often something is tried in a row; `vipd` takes no more.
    Attempts, u32, 1, 1000, "number of attempts"
}

number! {
    /// PostgreSQL's connections. The keeper needs ten for itself, and with more than the most
    /// PostgreSQL doesn't start.
    Connections, u32, 11, 200_000, "number of connections"
}

number! {
    /// Connections through a balancer. Each takes two descriptors, of which a service has half a
    /// million; HAProxy doesn't start without as many as it may need.
    BalancerConnections, u32, 1, 250_000, "number of connections"
}

number! {
    /// The share of a server in a balancer; HAProxy takes no more.
    Share, u16, 1, 256, "share"
}

number! {
    /// A share of a whole.
    Percent, u8, 1, 100, "percentage"
}

number! {
    /// A user or group number.
    UnixId, u32, 0, 65533, "user number"
}

number! {
    /// A time to live (IPv4) or hop limit (IPv6).
    Ttl, u8, 1, 255, "TTL"
}
