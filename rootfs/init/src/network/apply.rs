//! Having the kernel do what the planner asks for.

use std::fs;

use netlink::{Netlink, NetlinkError};

use super::change::Change;
use super::observe::Places;

/// What came of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// In the words of the kernel. What it was about may have gone meanwhile: it counts only if the
    /// next look at the kernel still asks for the same.
    Refused(String),
    /// The kernel doesn't answer: no use in trying more of it now.
    NoAnswer(String),
}

/// Does one change.
pub(crate) fn apply(change: &Change, netlink: &mut Netlink, places: &Places) -> Outcome {
    let done = match change {
        Change::SetUp { link, up } => netlink.set_up(link, *up),
        Change::Rename { link, to } => netlink.rename(link, to),
        Change::SetMtu { link, mtu } => netlink.set_mtu(link, *mtu),
        Change::Create(link) => netlink.create(link),
        Change::Remove(link) => netlink.delete_link(link),
        Change::Join { member, bond } => netlink.set_master(member, Some(bond)),
        Change::AddAddress { link, address } => netlink.add_address(link, address),
        Change::DropAddress { link, address } => netlink.delete_address(link, address),
        Change::PutRoute(route) => netlink.replace_route(route),
        Change::DropRoute(route) => netlink.delete_route(route),
        Change::Set { link, setting, value } => {
            let path = places.setting(&link.name, *setting);
            return match fs::write(&path, value) {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Refused(format!("{}={value}: {error}", path.display())),
            };
        }
    };
    match done {
        Ok(()) => Outcome::Done,
        Err(error @ NetlinkError::NoAnswer { .. }) => Outcome::NoAnswer(error.to_string()),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}
