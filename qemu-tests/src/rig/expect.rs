//! What a drill can wait for: something on the wire, on a console, in a guest, or in what clients
//! are told. Each is measured from the last thing that the drill did, and has a deadline.

use std::fmt;
use std::net::IpAddr;

use ::probe::words::Facts;
use control::{BackupStatus, DatabaseStatus};
use vswitch::rule::Port;
use vswitch::wire::{Claim, Heard};

use super::fault::Node;

/// What of the wire a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scene {
    pub vrid: u8,
    pub address: IpAddr,
    /// The port of the node that the condition names.
    pub port: Port,
}

type OfWire = fn(&Heard, &Scene) -> bool;
type OfFacts = Box<dyn Fn(&Facts) -> bool>;
type OfKeeper = Box<dyn Fn(&DatabaseStatus) -> bool>;
type OfBackups = Box<dyn Fn(&BackupStatus) -> bool>;

/// What is waited for.
pub enum Condition {
    /// It is heard from a node, by the deadline.
    Heard(Node, OfWire),
    /// It is never heard from a node after the deadline.
    Silent(Node, OfWire),
    /// A node's console has a line with this in it.
    Said(Node, String),
    /// Something is true in a node.
    Fact(Node, OfFacts),
    /// Something is true of a node's database keeper; while it can't be asked, nothing is.
    Keeper(Node, OfKeeper),
    /// Something is true of a node's backups; while nobody can be asked, nothing is.
    Backups(Node, OfBackups),
    /// Somebody asked the site's power switch to cut the node's power.
    PowerCutAsked(Node),
    /// The node's machine is off.
    Off(Node),
    /// A client that asks after this was done is answered.
    Answered,
}

impl fmt::Debug for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Heard(..) => "Heard",
            Self::Silent(..) => "Silent",
            Self::Said(..) => "Said",
            Self::Fact(..) => "Fact",
            Self::Keeper(..) => "Keeper",
            Self::Backups(..) => "Backups",
            Self::PowerCutAsked(_) => "PowerCutAsked",
            Self::Off(_) => "Off",
            Self::Answered => "Answered",
        })
    }
}

fn is_advert(heard: &Heard, scene: &Scene) -> bool {
    matches!(heard.claim, Claim::Advert(vrrp) if vrrp.vrid == scene.vrid
        && vrrp.source.is_ipv4() == scene.address.is_ipv4() && vrrp.priority > 0)
        && heard.port == scene.port
}

fn is_resignation(heard: &Heard, scene: &Scene) -> bool {
    matches!(heard.claim, Claim::Advert(vrrp) if vrrp.vrid == scene.vrid
        && vrrp.source.is_ipv4() == scene.address.is_ipv4() && vrrp.priority == 0)
        && heard.port == scene.port
}

fn is_announcement(heard: &Heard, scene: &Scene) -> bool {
    heard.claim == Claim::Announcement(scene.address) && heard.port == scene.port
}

/// The node adverts that the address is its own.
pub fn claims(node: Node) -> Condition {
    Condition::Heard(node, is_advert)
}

/// The node announces the address, by gratuitous ARP or an unsolicited neighbour advertisement.
pub fn announces(node: Node) -> Condition {
    Condition::Heard(node, is_announcement)
}

/// The node gives the address up with an advert of priority 0.
pub fn resigns(node: Node) -> Condition {
    Condition::Heard(node, is_resignation)
}

/// From the deadline on the node adverts nothing.
pub fn yields(node: Node) -> Condition {
    Condition::Silent(node, is_advert)
}

/// A line on the node's console.
pub fn says(node: Node, part: impl Into<String>) -> Condition {
    Condition::Said(node, part.into())
}

/// Something that the node's probe sees.
pub fn fact(node: Node, is_true: impl Fn(&Facts) -> bool + 'static) -> Condition {
    Condition::Fact(node, Box::new(is_true))
}

/// The node has the address on one of its links.
pub fn has_address(node: Node, address: IpAddr) -> Condition {
    fact(node, move |facts| facts.addresses.contains(&address))
}

/// The node has the address on none of its links.
pub fn lacks_address(node: Node, address: IpAddr) -> Condition {
    fact(node, move |facts| !facts.addresses.contains(&address))
}

/// Something that the node's database keeper says of itself.
pub fn keeper(node: Node, is_true: impl Fn(&DatabaseStatus) -> bool + 'static) -> Condition {
    Condition::Keeper(node, Box::new(is_true))
}

/// Something that the node's backup service says.
pub fn backups(node: Node, is_true: impl Fn(&BackupStatus) -> bool + 'static) -> Condition {
    Condition::Backups(node, Box::new(is_true))
}

/// The node is this to its pair: `primary`, `solo`, `standby` and so on.
pub fn is(node: Node, role: &'static str) -> Condition {
    keeper(node, move |status| status.role == role)
}

/// Somebody asks the site's power switch to cut the node's power.
pub fn is_to_be_cut(node: Node) -> Condition {
    Condition::PowerCutAsked(node)
}

/// The node's machine has gone off.
pub fn goes_off(node: Node) -> Condition {
    Condition::Off(node)
}

/// A client that asks from now on is answered.
pub fn answers() -> Condition {
    Condition::Answered
}
