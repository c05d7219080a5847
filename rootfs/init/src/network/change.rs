//! What the planner can ask for, and what it can't do anything about.

use std::fmt;

use netlink::{Address, LinkId, NewLink, Route};
use thiserror::Error;

use super::there::Setting;

/// One step from what is there to what the seed wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    SetUp { link: LinkId, up: bool },
    Rename { link: LinkId, to: String },
    SetMtu { link: LinkId, mtu: u32 },
    Create(NewLink),
    Remove(LinkId),
    Join { member: LinkId, bond: LinkId },
    Set { link: LinkId, setting: Setting, value: String },
    AddAddress { link: LinkId, address: Address },
    DropAddress { link: LinkId, address: Address },
    PutRoute(Route),
    DropRoute(Route),
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp { link, up: true } => write!(formatter, "set {link} up"),
            Self::SetUp { link, up: false } => write!(formatter, "set {link} down"),
            Self::Rename { link, to } => write!(formatter, "rename {link} to {to}"),
            Self::SetMtu { link, mtu } => write!(formatter, "set the MTU of {link} to {mtu}"),
            Self::Create(link) => write!(formatter, "make the {} {}", link.kind.name(), link.name),
            Self::Remove(link) => write!(formatter, "remove the link {link}"),
            Self::Join { member, bond } => write!(formatter, "make {member} a member of {bond}"),
            Self::Set { link, setting, value } => {
                write!(formatter, "set {}/{} of {link} to {value}", setting.family, setting.key)
            }
            Self::AddAddress { link, address } => write!(formatter, "give {link} {address}"),
            Self::DropAddress { link, address } => write!(formatter, "take {address} from {link}"),
            Self::PutRoute(route) => write!(formatter, "make the route {route}"),
            Self::DropRoute(route) => write!(formatter, "remove the route {route}"),
        }
    }
}

/// Why the network isn't what the seed wants, when no step helps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
pub(crate) enum Trouble {
    #[error("link {link}: no card {wanted}; {}", free_cards(free))]
    NoCard { link: String, wanted: String, free: Vec<String> },
    #[error(
        "link {link}: several cards {wanted}: {}; match it by mac in the seed",
        fitting.join(", ")
    )]
    SeveralCards { link: String, wanted: String, fitting: Vec<String> },
    #[error(
        "link {link}: its name is taken by a link of kind {kind}; call it otherwise in the seed"
    )]
    NameTaken { link: String, kind: String },
    #[error(
        "link {link}: {address} isn't used, since another machine has it; give one of them another"
    )]
    Duplicate { link: String, address: String },
    #[error("{change}: it doesn't stay so; does someone else set it, too? Trying again later")]
    Restless { change: String },
    /// The kernel's own words.
    #[error("{0}")]
    Refused(String),
}

fn free_cards(free: &[String]) -> String {
    if free.is_empty() {
        "there is no other card".to_owned()
    } else {
        format!("other cards: {}", free.join(", "))
    }
}
