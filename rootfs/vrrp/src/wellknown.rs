//! The numbers and addresses that were assigned to VRRP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IP protocol number.
pub const IP_PROTOCOL: u8 = 112;
/// What adverts are sent with; a router never forwards a packet that still has it.
pub const TTL: u8 = 255;
/// Where version 2 and version 3 send their IPv4 adverts.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where version 3 sends its IPv6 adverts.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The two address families; they never meet in one virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The multicast group that adverts of this family go to.
    pub fn group(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(GROUP_V4),
            Self::V6 => IpAddr::V6(GROUP_V6),
        }
    }

    /// The bytes of one address in a packet.
    pub const fn address_bytes(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The virtual router's MAC address: 00-00-5E-00-01-VRID, or -02- for IPv6.
    pub const fn virtual_mac(self, vrid: u8) -> [u8; 6] {
        let family = match self {
            Self::V4 => 1,
            Self::V6 => 2,
        };
        [0x00, 0x00, 0x5e, 0x00, family, vrid]
    }
}

/// The Ethernet address that an IPv4 or IPv6 multicast group is sent to.
pub fn multicast_mac(group: &IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, second, third, fourth] = group.octets();
            [0x01, 0x00, 0x5e, second & 0x7f, third, fourth]
        }
        IpAddr::V6(group) => {
            let [.., thirteenth, fourteenth, fifteenth, sixteenth] = group.octets();
            [0x33, 0x33, thirteenth, fourteenth, fifteenth, sixteenth]
        }
    }
}
