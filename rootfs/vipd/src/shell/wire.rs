//! One router's sockets: adverts in and out, announcements out, claims in.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink::{Link, LinkId};
use sys::packet_socket::PacketSocket;
use sys::raw_socket::{RawSocket, Received};
use vrrp::announce::{Mac, gratuitous_arp, neighbour_advertisement};
use vrrp::wellknown::{Family, IP_PROTOCOL};

use crate::claims::{ETHERTYPE_ARP, ETHERTYPE_IPV6};
use crate::filter::{self, Wanted};
use crate::frames;
use crate::router::Settings;

/// The sockets of a router, on the interface as it is now.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: LinkId,
    raw: RawSocket,
    frames: PacketSocket,
    physical: Mac,
    virtual_mac: Option<Mac>,
    forwards: bool,
}

impl Wire {
    pub(super) fn open(settings: &Settings, link: &Link) -> io::Result<Self> {
        let index = link.id.index;
        let addresses: Vec<IpAddr> = settings.addresses.iter().map(|cidr| cidr.address).collect();
        let program = filter::adverts(&Wanted {
            ipv6: settings.ipv6,
            version: settings.version,
            vrid: settings.vrid,
            least_ttl: settings.ttl_min(),
            peers: &settings.peers,
        });
        let raw = RawSocket::open(settings.ipv6, IP_PROTOCOL, index, &program)?;
        if settings.peers.is_empty() {
            raw.join(settings.family().group())?;
        }
        let (ethertype, program) = if settings.ipv6 {
            (ETHERTYPE_IPV6, filter::neighbour_claims(&addresses))
        } else {
            (ETHERTYPE_ARP, filter::arp_claims(&addresses))
        };
        let frames = PacketSocket::open(index, ethertype, &program)?;
        if !settings.ipv6 {
            hear_owners(&link.id.name);
        }
        let virtual_mac =
            settings.virtual_mac.then(|| settings.family().virtual_mac(settings.vrid));
        Ok(Self {
            link: link.id.clone(),
            raw,
            frames,
            physical: link.mac.map_or([0; 6], |mac| mac.0),
            virtual_mac,
            forwards: settings.ipv6 && forwards(&link.id.name),
        })
    }

    pub(super) fn adverts(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }

    pub(super) fn claims(&self) -> BorrowedFd<'_> {
        self.frames.as_fd()
    }

    /// The addresses from which we speak ourselves.
    pub(super) fn macs(&self) -> Vec<Mac> {
        self.virtual_mac.into_iter().chain([self.physical]).collect()
    }

    pub(super) fn set_mac(&mut self, mac: Mac) {
        self.physical = mac;
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        self.raw.receive(buffer)
    }

    pub(super) fn receive_claim(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.frames.receive(buffer)
    }

    pub(super) fn send(
        &self,
        source: IpAddr,
        destination: IpAddr,
        advert: &[u8],
    ) -> io::Result<()> {
        let Some(mac) = self.virtual_mac.filter(|_| destination.is_multicast()) else {
            return self.raw.send(source, destination, advert);
        };
        let frame = frames::advert(mac, source, destination, advert);
        self.frames.send(&frame.ok_or(io::ErrorKind::InvalidInput)?)
    }

    /// Tells the neighbours that `address` is here.
    pub(super) fn announce(&self, address: IpAddr, primary: IpAddr) -> io::Result<()> {
        let mac = self.virtual_mac.unwrap_or(self.physical);
        match (address, primary) {
            (IpAddr::V4(address), _) => self.frames.send(&gratuitous_arp(mac, address)),
            (IpAddr::V6(address), IpAddr::V6(primary)) => {
                self.frames.send(&neighbour_advertisement(mac, primary, address, self.forwards))
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// An owner may send from the very address that it owns. Who stands in for it has that address too,
/// and Linux drops IPv4 packets that seem to come from oneself: it would never hear that the owner
/// is back. Where this can't be set, an owner needs a second address to send from.
fn hear_owners(interface: &str) {
    let _ = std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/accept_local"), "1");
}

/// Whether the machine is a router on this interface, which its advertisements have to say.
fn forwards(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    std::fs::read(path).is_ok_and(|text| text.first() == Some(&b'1'))
}

/// The name of a router's own interface where it has a virtual MAC: short enough for any number.
pub(super) fn virtual_interface(family: Family, vrid: u8, below: u32) -> String {
    let family = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    format!("vr{family}-{vrid}-{below}")
}
