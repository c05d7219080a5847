//! `[failover]`: who may become primary of the database pair, and how that is found out.

use std::net::IpAddr;

use crate::reader::{choice, section};
use crate::scalar::{Argument, DurationText, HostName, LinkName, Port, Word};

choice! {
    /// What happens when the peers of a pair lose sight of each other and nobody can arbitrate.
    Policy ("failover policy") {
        /// Writes stop until the other node, the witness or a fence agrees. Never loses a commit.
        Consistency = "consistency",
        /// The primary carries on alone; the standby never promotes by itself.
        PrimaryBiased = "primary-biased",
        /// The standby promotes; the primary stops. Never loses a commit.
        StandbyBiased = "standby-biased",
        /// One of them carries on after time windows and a check of the gateway. Can diverge if
        /// every channel lies at once, and says so then.
        Availability = "availability",
    }
}

section! {
    /// Where the witness listens.
    WitnessAddress {
        /// Its host name or address; never one of the pair's own.
        address: HostName = required;
        /// Its port.
        port: Port = default("7431");
    }
}

section! {
    /// How the peers watch each other.
    Heartbeat {
        /// Time between two heartbeats, 20 ms at least.
        interval: DurationText = default("'100ms'");
        /// Silence on all channels after which the peer counts as lost: five intervals to a minute.
        loss: DurationText = default("'500ms'");
        /// UDP port of the heartbeats.
        port: Port = default("7430");
    }
}

section! {
    /// A further path between the two peers, beside their addresses in `[[cluster.nodes]]`.
    Channel {
        /// The channel's name in logs; "ipv4" and "ipv6" are those of the nodes' own addresses.
        name: Word = required;
        /// The link that it uses.
        link: LinkName = required;
        /// The peer's address on that link.
        peer: IpAddr = required;
    }
}

section! {
    /// Who may become primary of the database pair.
    Failover {
        /// What to do when nobody can arbitrate. Without a witness "availability" is the default;
        /// with one "consistency", which then costs nothing.
        policy: Policy = optional;
        /// The third voter.
        witness: WitnessAddress = optional;
        /// How the peers watch each other.
        heartbeat: Heartbeat = default("{}");
        /// Further paths between the peers. A crossover cable is a good one.
        channels: Vec<Channel> = default("[]");
        /// Addresses that answer when this node is connected, such as the router's.
        gateways: Vec<IpAddr> = default("[]");
        /// A command that cuts the peer's power and confirms it with exit code 0: the program's
        /// whole path and its arguments. It is killed when the peer is heard again.
        fence: Vec<Argument> = default("[]");
    }
}
