//! `[[links]]`, `[[routes]]`, `[dns]`, `[time]`: how the node reaches others.

use std::net::IpAddr;

use crate::problem::Wrong;
use crate::reader::{Item, Reader, choice, section};
use crate::scalar::{
    Cidr, Count, Destination, HostName, LinkName, LinkPattern, MacAddress, Mtu, VlanId,
};

choice! {
    /// What a link is made of.
    LinkKind ("kind of link") {
        /// A network card.
        Plain = "plain",
        /// Several cards used as one.
        Bond = "bond",
        /// A tagged network on another link.
        Vlan = "vlan",
    }
}

choice! {
    /// How a bond uses its members.
    BondMode ("bond mode") {
        /// One carries the traffic, the others wait. Works with any switch.
        ActiveBackup = "active-backup",
        /// LACP; the switch must take part.
        Lacp = "802.3ad",
        /// Spread by hash; the switch needs a static trunk.
        BalanceXor = "balance-xor",
        /// Everything on every member.
        Broadcast = "broadcast",
    }
}

section! {
    /// Which network card a link is: exactly one of these keys.
    LinkMatch {
        /// By hardware address: the surest way, if each card is known.
        mac: MacAddress = optional;
        /// By the kernel's own name, such as `"eth0"` or `"e*"`, since nothing here gives names such as
        /// `enp1s0`; must fit one card only.
        name: LinkPattern = optional;
        /// By driver, such as `"virtio_net"` or `"e1000e"`; must fit one card only.
        driver: LinkPattern = optional;
    }
    rules = exactly_one_match;
}

section! {
    /// A network link: a card, a bond of cards, or a VLAN.
    Link {
        /// The name that the link gets on this node and has in the rest of the seed.
        name: LinkName = required;
        /// Which card it is (kind "plain" only).
        r#match: LinkMatch = optional;
        /// What it is made of.
        kind: LinkKind = default("'plain'");
        /// Names of the links that a bond consists of.
        members: Vec<LinkName> = default("[]");
        /// How a bond uses its members.
        mode: BondMode = default("'active-backup'");
        /// The link that a VLAN is on.
        parent: LinkName = optional;
        /// The VLAN's tag.
        id: VlanId = optional;
        /// The node's own addresses on this link, IPv4 and IPv6, with prefix lengths.
        addresses: Vec<Cidr> = default("[]");
        /// Largest packet in bytes; the card's default if absent.
        mtu: Mtu = optional;
        /// Whether IPv6 router advertisements may add addresses and routes.
        accept_router_advertisements: bool = default("false");
    }
    rules = link_is_whole;
}

section! {
    /// A route beyond the networks of the links.
    Route {
        /// The network, or "default".
        to: Destination = required;
        /// The gateway, an address in the network of one of the links.
        via: IpAddr = required;
        /// The link to use; found from the gateway's address if absent.
        link: LinkName = optional;
        /// Of two routes to one network the one with the lower metric wins.
        metric: Count = optional;
    }
}

section! {
    /// A line of `/etc/hosts`.
    HostEntry {
        /// The address.
        address: IpAddr = required;
        /// The names that resolve to it.
        names: Vec<HostName> = required;
    }
}

section! {
    /// Name resolution. The nodes of the cluster know each other's names without it.
    Dns {
        /// Name servers, at most three.
        servers: Vec<IpAddr> = default("[]");
        /// Domains to search.
        search: Vec<HostName> = default("[]");
        /// Names that resolve without a server.
        hosts: Vec<HostEntry> = default("[]");
    }
}

section! {
    /// The clock. Without servers the node trusts its hardware clock.
    Time {
        /// NTP servers, sixteen at most; four are enough.
        servers: Vec<HostName> = default("[]");
    }
}

fn exactly_one_match(read: &LinkMatch, item: &Item<'_>, reader: &mut Reader<'_>) {
    let given = [read.mac.is_some(), read.name.is_some(), read.driver.is_some()];
    let count = given.iter().filter(|one| **one).count();
    if count == 1 || !reader.is_sound_below(&item.path) {
        return;
    }
    let why = if count == 0 { "matches by nothing" } else { "matches by several things" };
    let wrong = Wrong::new(
        "a link is matched by exactly one of mac, name and driver",
        why,
        "write it like `match = { mac = \"52:54:00:77:00:01\" }`",
    );
    reader.report(&item.path, &item.span, wrong);
}

fn link_is_whole(link: &Link, item: &Item<'_>, reader: &mut Reader<'_>) {
    let missing = match link.kind {
        LinkKind::Plain if link.r#match.is_none() => Some("match"),
        LinkKind::Bond if link.members.is_empty() => Some("members"),
        LinkKind::Vlan if link.parent.is_none() => Some("parent"),
        LinkKind::Vlan if link.id.is_none() => Some("id"),
        _ => None,
    };
    if let Some(key) = missing
        && reader.is_sound_below(&item.path)
    {
        let wrong = Wrong::new(
            format!("a link of kind \"{}\" needs `{key}`", link.kind),
            format!("has no `{key}`"),
            match link.kind {
                LinkKind::Plain => "add `match = { mac = \"52:54:00:77:00:01\" }`",
                LinkKind::Bond => "add `members = [\"port1\", \"port2\"]`, each a link of its own",
                LinkKind::Vlan => "add `parent = \"lan\"` and `id = 20`",
            },
        );
        reader.report(&item.path, &item.span, wrong);
    }
    let foreign = [
        ("match", link.r#match.is_some(), LinkKind::Plain),
        ("members", !link.members.is_empty(), LinkKind::Bond),
        ("parent", link.parent.is_some(), LinkKind::Vlan),
        ("id", link.id.is_some(), LinkKind::Vlan),
    ];
    for (key, given, owner) in foreign {
        if given && link.kind != owner {
            let wrong = Wrong::new(
                format!("`{key}` belongs to links of kind \"{owner}\""),
                format!("this link is of kind \"{}\"", link.kind),
                format!("remove `{key}`, or write `kind = \"{owner}\"`"),
            );
            reader.report_at(&format!("{}.{key}", item.path), wrong);
        }
    }
}
