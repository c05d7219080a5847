//! Links: network cards, and what the kernel makes of them.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::NetlinkError;
use crate::number::{
    AF_UNSPEC, IFF_LOOPBACK, IFF_LOWER_UP, IFF_UP, IFLA_ADDRESS, IFLA_BOND_MIIMON, IFLA_BOND_MODE,
    IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MACVLAN_MODE,
    IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IFLA_OPERSTATE, IFLA_PERM_ADDRESS, IFLA_VLAN_ID,
    RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK,
};
use crate::socket::Socket;
use crate::wire::{Attribute, Attributes, Garbled, Message, Request, u8_at, u32_at};
use crate::{Mac, Netlink};

/// `struct ifinfomsg`: family, type of hardware, index, flags, which of the flags shall change.
const FIXED_BYTES: usize = 16;

/// Which link: the kernel goes by the index, people by the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub index: u32,
    pub name: String,
}

impl fmt::Display for LinkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// Whether a link could carry packets, in RFC 2863's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperState {
    Unknown,
    NotPresent,
    Down,
    LowerLayerDown,
    Testing,
    Dormant,
    Up,
}

impl OperState {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::NotPresent,
            2 => Self::Down,
            3 => Self::LowerLayerDown,
            4 => Self::Testing,
            5 => Self::Dormant,
            6 => Self::Up,
            _ => Self::Unknown,
        }
    }
}

/// What a made link was made with, as far as this crate makes such links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Numbers of `linux/if_bonding.h`.
    Bond {
        mode: u8,
        miimon: u32,
    },
    Vlan {
        id: u16,
    },
    /// A number of `linux/if_link.h`.
    Macvlan {
        mode: u32,
    },
}

/// A link as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    /// What kind of made link it is, such as `bond`; none for a network card.
    pub kind: Option<String>,
    pub detail: Option<Detail>,
    pub loopback: bool,
    pub mac: Option<Mac>,
    /// The address that the card was born with, which stays when it joins a bond.
    pub permanent_mac: Option<Mac>,
    /// Whether it was set up.
    pub up: bool,
    /// Whether the other end of the cable is there. Known only while the link is up.
    pub carrier: bool,
    pub state: OperState,
    pub mtu: u32,
    /// The bond or bridge that it is a member of.
    pub master: Option<u32>,
    /// The link below a VLAN or macvlan, or the other end of a veth.
    pub below: Option<u32>,
}

impl Link {
    /// Reads a message about a link; none if it is about a link in another part's eyes, such as
    /// a port in those of its bridge.
    pub(crate) fn read(message: Message<'_>) -> Result<Option<Self>, Garbled> {
        let body = message.body;
        if u8_at(body, 0)? != AF_UNSPEC {
            return Ok(None);
        }
        let flags = u32_at(body, 8)?;
        let mut link = Self {
            id: LinkId { index: u32_at(body, 4)?, name: String::new() },
            kind: None,
            detail: None,
            loopback: flags & IFF_LOOPBACK != 0,
            mac: None,
            permanent_mac: None,
            up: flags & IFF_UP != 0,
            carrier: flags & IFF_LOWER_UP != 0,
            state: OperState::Unknown,
            mtu: 0,
            master: None,
            below: None,
        };
        for attribute in Attributes::after(body, FIXED_BYTES) {
            link.take(attribute?)?;
        }
        Ok(Some(link))
    }

    fn take(&mut self, attribute: Attribute<'_>) -> Result<(), Garbled> {
        match attribute.kind {
            IFLA_IFNAME => self.id.name = attribute.text(),
            IFLA_ADDRESS => self.mac = Mac::read(attribute.value),
            IFLA_PERM_ADDRESS => self.permanent_mac = Mac::read(attribute.value),
            IFLA_MTU => self.mtu = attribute.u32()?,
            IFLA_OPERSTATE => self.state = OperState::of(attribute.u8()?),
            IFLA_MASTER => self.master = Some(attribute.u32()?).filter(|index| *index != 0),
            IFLA_LINK => self.below = Some(attribute.u32()?).filter(|index| *index != 0),
            IFLA_LINKINFO => self.take_info(attribute.value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_info(&mut self, info: &[u8]) -> Result<(), Garbled> {
        for attribute in Attributes::of(info) {
            let attribute = attribute?;
            match attribute.kind {
                IFLA_INFO_KIND => self.kind = Some(attribute.text()),
                // The kernel writes the kind first.
                IFLA_INFO_DATA => self.detail = self.read_detail(attribute.value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_detail(&self, data: &[u8]) -> Result<Option<Detail>, Garbled> {
        let find = |kind| -> Result<Option<Attribute<'_>>, Garbled> {
            for attribute in Attributes::of(data) {
                let attribute = attribute?;
                if attribute.kind == kind {
                    return Ok(Some(attribute));
                }
            }
            Ok(None)
        };
        Ok(match self.kind.as_deref() {
            Some("bond") => {
                let mode = find(IFLA_BOND_MODE)?.map_or(Ok(0), |found| found.u8())?;
                let miimon = find(IFLA_BOND_MIIMON)?.map_or(Ok(0), |found| found.u32())?;
                Some(Detail::Bond { mode, miimon })
            }
            Some("vlan") => match find(IFLA_VLAN_ID)? {
                Some(found) => Some(Detail::Vlan { id: found.u16()? }),
                None => None,
            },
            Some("macvlan") => match find(IFLA_MACVLAN_MODE)? {
                Some(found) => Some(Detail::Macvlan { mode: found.u32()? }),
                None => None,
            },
            _ => None,
        })
    }
}

/// The fixed part of a message about a link.
pub(crate) fn fixed(index: u32, flags: u32, changed: u32) -> [u8; FIXED_BYTES] {
    let mut bytes = [0; FIXED_BYTES];
    for (place, number) in [(4, index), (8, flags), (12, changed)] {
        for (to, from) in bytes.iter_mut().skip(place).zip(number.to_ne_bytes()) {
            *to = from;
        }
    }
    bytes
}

impl Netlink {
    /// All links, in the order of their making.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        list(&mut self.socket)
    }

    /// The link of a name.
    pub fn link(&mut self, name: &str) -> Result<Link, NetlinkError> {
        let found = self.links()?.into_iter().find(|link| link.id.name == name);
        found.ok_or_else(|| NetlinkError::NoSuchLink { name: name.to_owned() })
    }

    /// Sets a link up or down.
    pub fn set_up(&mut self, link: &LinkId, up: bool) -> Result<(), NetlinkError> {
        let flags = if up { IFF_UP } else { 0 };
        let word = if up { "up" } else { "down" };
        let tried = || format!("set {link} {word}");
        let fixed = fixed(link.index, flags, IFF_UP);
        self.socket.change(tried, RTM_SETLINK, 0, &fixed, |_| {})
    }

    /// Gives a link another name. The kernel wants most links down for it.
    pub fn rename(&mut self, link: &LinkId, name: &str) -> Result<(), NetlinkError> {
        let tried = || format!("rename {link} to {name}");
        self.set(link, tried, |request| request.text(IFLA_IFNAME, name))
    }

    /// Sets the largest packet that a link takes.
    pub fn set_mtu(&mut self, link: &LinkId, mtu: u32) -> Result<(), NetlinkError> {
        let tried = || format!("set the MTU of {link} to {mtu}");
        self.set(link, tried, |request| request.u32(IFLA_MTU, mtu))
    }

    /// Sets a link's hardware address. Many drivers want the link down for it.
    pub fn set_mac(&mut self, link: &LinkId, mac: Mac) -> Result<(), NetlinkError> {
        let tried = || format!("set the hardware address of {link} to {mac}");
        self.set(link, tried, |request| request.bytes(IFLA_ADDRESS, &mac.0))
    }

    /// Makes a link a member of a bond or bridge, or of none. A bond takes only links that are down.
    pub fn set_master(
        &mut self,
        link: &LinkId,
        master: Option<&LinkId>,
    ) -> Result<(), NetlinkError> {
        let tried = || match master {
            Some(master) => format!("make {link} a member of {master}"),
            None => format!("take {link} out of what it is a member of"),
        };
        let index = master.map_or(0, |master| master.index);
        self.set(link, tried, |request| request.u32(IFLA_MASTER, index))
    }

    /// Moves a link to another network namespace; it arrives there down and without addresses.
    pub fn move_to(
        &mut self,
        link: &LinkId,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let tried = || format!("move {link} to another network namespace");
        let descriptor = namespace.as_raw_fd().cast_unsigned();
        self.set(link, tried, |request| request.u32(IFLA_NET_NS_FD, descriptor))
    }

    /// Removes a link that was made.
    pub fn delete_link(&mut self, link: &LinkId) -> Result<(), NetlinkError> {
        let tried = || format!("remove the link {link}");
        self.socket.change(tried, RTM_DELLINK, 0, &fixed(link.index, 0, 0), |_| {})
    }

    fn set(
        &mut self,
        link: &LinkId,
        tried: impl FnOnce() -> String,
        fill: impl FnOnce(&mut Request),
    ) -> Result<(), NetlinkError> {
        self.socket.change(tried, RTM_SETLINK, 0, &fixed(link.index, 0, 0), fill)
    }
}

fn list(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    socket.list("list the links", RTM_GETLINK, &fixed(0, 0, 0), |message| match message.kind {
        RTM_NEWLINK => Link::read(message),
        _ => Ok(None),
    })
}
