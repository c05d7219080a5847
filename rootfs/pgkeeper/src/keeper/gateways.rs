//! Whether this node is connected at all: gateways that answer an ICMP echo.
//!
//! Why echo. Every router answers it, it says nothing but "here", and the kernel lends it out without
//! any privilege to the groups in `net.ipv4.ping_group_range`, which the overlay sets for this
//! service. ARP would need raw sockets, and is answered by routers that forward nothing; TCP to some
//! port is dropped in silence by routers that have a firewall.
//!
//! An answer counts only while it is young: one that was on its way for a second says that the node
//! *was* connected, and a policy that acts on it could be wrong.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect, ipproto,
    recv, send, socket_with,
};

const ECHO_REQUEST: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];
/// Type, code, checksum, identifier, sequence; checksum and identifier are the kernel's.
const HEADER_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = 8;
const PER_TURN: usize = 16;

/// A gateway and the way to ask it.
#[derive(Debug)]
struct Gateway {
    /// With the link's number, if the address means something on that link only.
    address: SocketAddr,
    socket: OwnedFd,
}

/// All gateways.
#[derive(Debug)]
pub struct Gateways {
    all: Vec<Gateway>,
    /// Tells our own answers from those to a former run.
    nonce: [u8; PAYLOAD_BYTES],
    seq: u16,
    /// When the last two requests left; what they carried.
    asked: [(u16, Duration); 2],
}

impl Gateways {
    /// Asks nobody yet.
    pub fn new(nonce: u64) -> Self {
        let asked = [(0, Duration::ZERO); 2];
        Self { all: Vec::new(), nonce: nonce.to_be_bytes(), seq: 0, asked }
    }

    /// Whether there is anybody to ask.
    pub fn are_known(&self) -> bool {
        !self.all.is_empty()
    }

    /// From now on these are asked. An address that can't be asked now is left out: its family may
    /// have no route yet. Ports mean nothing.
    pub fn set(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        // Whoever is known already may be about to answer.
        self.all.retain(|gateway| addresses.contains(&gateway.address));
        let mut failed = None;
        for address in addresses {
            if self.all.iter().any(|gateway| gateway.address == *address) {
                continue;
            }
            match open(*address) {
                Ok(socket) => self.all.push(Gateway { address: *address, socket }),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Readable when somebody answers.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.iter().map(|gateway| gateway.socket.as_fd())
    }

    /// Asks all of them.
    pub fn ask(&mut self, now: Duration) {
        self.seq = self.seq.wrapping_add(1);
        let [_, last] = self.asked;
        self.asked = [last, (self.seq, now)];
        for gateway in &self.all {
            let request = request(gateway.address.is_ipv6(), self.seq, self.nonce);
            // A network that can't be reached doesn't answer, which is all that matters.
            let _unheard = send(&gateway.socket, &request, SendFlags::empty());
        }
    }

    /// Whether a gateway has answered, lately enough.
    pub fn hear(&self, now: Duration, limit: Duration) -> bool {
        let mut answered = false;
        let mut bytes = [0; HEADER_BYTES + PAYLOAD_BYTES + 1];
        for gateway in &self.all {
            for _ in 0..PER_TURN {
                let Ok((length, _)) = recv(&gateway.socket, &mut bytes[..], RecvFlags::empty())
                else {
                    break;
                };
                let reply = bytes.get(..length).unwrap_or_default();
                let seq = replied(gateway.address.is_ipv6(), reply, self.nonce);
                answered |= self
                    .asked
                    .iter()
                    .any(|(asked, at)| Some(*asked) == seq && now.saturating_sub(*at) <= limit);
            }
        }
        answered
    }
}

fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    // Of a connected socket the kernel hands on only what its own peer says.
    connect(&socket, &SocketAddrAny::from(address))?;
    Ok(socket)
}

fn request(six: bool, seq: u16, nonce: [u8; PAYLOAD_BYTES]) -> Vec<u8> {
    let mut bytes = vec![ECHO_REQUEST[usize::from(six)], 0, 0, 0, 0, 0];
    bytes.extend(seq.to_be_bytes());
    bytes.extend(nonce);
    bytes
}

/// Which of our requests this answers. Pure.
fn replied(six: bool, reply: &[u8], nonce: [u8; PAYLOAD_BYTES]) -> Option<u16> {
    let (header, payload) = reply.split_first_chunk::<HEADER_BYTES>()?;
    let [kind, code, _, _, _, _, high, low] = *header;
    let ours = kind == ECHO_REPLY[usize::from(six)] && code == 0 && payload == nonce;
    ours.then_some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; PAYLOAD_BYTES] = *b"a nonce!";

    #[test]
    fn only_an_echo_of_ours_counts() {
        for six in [false, true] {
            let mut reply = request(six, 300, NONCE);
            assert_eq!(replied(six, &reply, NONCE), None, "a request is no reply");
            reply[0] = ECHO_REPLY[usize::from(six)];
            assert_eq!(replied(six, &reply, NONCE), Some(300));
            assert_eq!(replied(six, &reply, *b"another!"), None);
            assert_eq!(replied(!six, &reply, NONCE), None);
            reply.push(0);
            assert_eq!(replied(six, &reply, NONCE), None);
        }
    }

    #[test]
    fn without_gateways_nobody_answers() {
        let mut gateways = Gateways::new(1);
        gateways.set(&[]).expect("nothing to open");
        gateways.ask(Duration::from_secs(1));
        assert!(!gateways.are_known());
        assert!(!gateways.hear(Duration::from_secs(1), Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _any = replied(false, &bytes, NONCE);
        }
    }
}
