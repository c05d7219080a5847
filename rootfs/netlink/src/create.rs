//! Links that the kernel makes on demand.

use crate::error::NetlinkError;
use crate::link::fixed;
use crate::number::{
    IFLA_ADDRESS, IFLA_BOND_MIIMON, IFLA_BOND_MODE, IFLA_BOND_XMIT_HASH_POLICY, IFLA_IFNAME,
    IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MACVLAN_MODE, IFLA_MTU,
    IFLA_VLAN_ID, NLM_F_CREATE, NLM_F_EXCL, RTM_NEWLINK, VETH_INFO_PEER,
};
use crate::wire::Request;
use crate::{Mac, Netlink};

/// How a bond uses its members; the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BondMode {
    RoundRobin = 0,
    ActiveBackup = 1,
    Xor = 2,
    Broadcast = 3,
    Lacp = 4,
}

/// What a bond chooses the member for a packet by; the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TransmitHash {
    /// Hardware addresses only: everything that goes to one router takes one member.
    Hardware = 0,
    /// IP addresses too; still what 802.3ad demands.
    HardwareAndIp = 2,
}

/// How a macvlan lets its siblings meet; the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MacvlanMode {
    Private = 1,
    Vepa = 2,
    Bridge = 4,
    Passthru = 8,
}

/// What a new link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKind {
    /// Several cards used as one. `miimon` is how often carrier is looked at, in milliseconds;
    /// 0 would leave a bond that never notices a pulled cable.
    Bond {
        mode: BondMode,
        miimon: u32,
        hash: TransmitHash,
    },
    /// A tagged network on the link of index `parent`.
    Vlan {
        parent: u32,
        id: u16,
    },
    /// A second hardware address on the link of index `parent`.
    Macvlan {
        parent: u32,
        mode: MacvlanMode,
    },
    /// Two links that are each other's cable. The second is called `peer`.
    Veth {
        peer: String,
    },
    Bridge,
    Dummy,
}

impl NewKind {
    /// The kernel's name for the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bond { .. } => "bond",
            Self::Vlan { .. } => "vlan",
            Self::Macvlan { .. } => "macvlan",
            Self::Veth { .. } => "veth",
            Self::Bridge => "bridge",
            Self::Dummy => "dummy",
        }
    }

    fn write(&self, request: &mut Request) {
        match self {
            Self::Bond { mode, miimon, hash } => {
                request.u8(IFLA_BOND_MODE, *mode as u8);
                request.u32(IFLA_BOND_MIIMON, *miimon);
                if matches!(mode, BondMode::Lacp | BondMode::Xor) {
                    request.u8(IFLA_BOND_XMIT_HASH_POLICY, *hash as u8);
                }
            }
            Self::Vlan { id, .. } => request.u16(IFLA_VLAN_ID, *id),
            Self::Macvlan { mode, .. } => request.u32(IFLA_MACVLAN_MODE, *mode as u32),
            Self::Veth { peer } => request.nest(VETH_INFO_PEER, &fixed(0, 0, 0), |inner| {
                inner.text(IFLA_IFNAME, peer);
            }),
            Self::Bridge | Self::Dummy => {}
        }
    }

    fn parent(&self) -> Option<u32> {
        match self {
            Self::Vlan { parent, .. } | Self::Macvlan { parent, .. } => Some(*parent),
            _ => None,
        }
    }
}

/// A link to be made. It comes up down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    pub name: String,
    /// The kernel chooses one if absent.
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
    pub kind: NewKind,
}

impl NewLink {
    /// A link with everything else left to the kernel.
    pub fn new(name: &str, kind: NewKind) -> Self {
        Self { name: name.to_owned(), mac: None, mtu: None, kind }
    }
}

impl Netlink {
    /// Makes a link; it is refused if there is one of that name.
    pub fn create(&mut self, link: &NewLink) -> Result<(), NetlinkError> {
        let tried = || format!("make the {} {}", link.kind.name(), link.name);
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.socket.change(tried, RTM_NEWLINK, flags, &fixed(0, 0, 0), |request| {
            request.text(IFLA_IFNAME, &link.name);
            if let Some(mac) = link.mac {
                request.bytes(IFLA_ADDRESS, &mac.0);
            }
            if let Some(mtu) = link.mtu {
                request.u32(IFLA_MTU, mtu);
            }
            if let Some(parent) = link.kind.parent() {
                request.u32(IFLA_LINK, parent);
            }
            request.nest(IFLA_LINKINFO, &[], |info| {
                info.text(IFLA_INFO_KIND, link.kind.name());
                info.nest(IFLA_INFO_DATA, &[], |data| link.kind.write(data));
            });
        })
    }
}
