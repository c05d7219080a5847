//! The ways to the peer: one UDP socket each.
//!
//! A socket is bound to this node's address on the way, which need not be there yet, and to the link
//! if the seed names one. So a datagram's socket says on which channel it came, whatever its sender
//! claims, and a heartbeat never leaves by another cable than its channel's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use failover::Heartbeat;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
    sockopt,
};
use sys::link_socket::bind_to_link;

use super::config::Channel;
use super::packet::{PACKET_BYTES, PacketError, Seal};

/// Datagrams that are read from one channel in a turn: more than a healthy peer sends in a second.
const PER_TURN: usize = 64;

/// One channel.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) channel: Channel,
    /// None while it can't be had: its link may not be there yet.
    socket: Option<OwnedFd>,
    /// Why nothing can be sent, as last said; `None` while sending works.
    failing: Option<io::ErrorKind>,
}

/// All channels.
#[derive(Debug)]
pub(crate) struct Channels {
    ways: Vec<Way>,
    seal: Seal,
}

/// What a turn on a channel brought.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) heartbeats: Vec<Heartbeat>,
    /// The last thing that was wrong.
    pub(crate) refused: Option<PacketError>,
}

impl Channels {
    /// Opens nothing yet: sockets are made when something is sent, and made anew when their link
    /// went and came again.
    pub(crate) fn new(channels: &[Channel], seal: Seal) -> Self {
        let way = |channel: &Channel| Way { channel: channel.clone(), socket: None, failing: None };
        Self { ways: channels.iter().map(way).collect(), seal }
    }

    /// The sockets that there are, with their channels' numbers.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (u8, BorrowedFd<'_>)> {
        let ways = (0_u8..).zip(&self.ways);
        ways.filter_map(|(number, way)| Some((number, way.socket.as_ref()?.as_fd())))
    }

    pub(crate) fn name(&self, number: u8) -> &str {
        self.ways.get(usize::from(number)).map_or("", |way| &way.channel.name)
    }

    /// Sends on every channel. Gives a line for each channel that begins or ceases to fail.
    pub(crate) fn send(&mut self, heartbeat: &Heartbeat) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, way) in (0_u8..).zip(&mut self.ways) {
            let packet = self.seal.close(number, heartbeat);
            let error = way.send(&packet).err();
            let name = &way.channel.name;
            let failing = error.as_ref().map(io::Error::kind);
            match (way.failing, &error) {
                (old, Some(error)) if old != failing => {
                    lines.push(format!("channel \"{name}\" can't send: {error}"));
                }
                (Some(_), None) => lines.push(format!("channel \"{name}\" sends again")),
                _ => {}
            }
            way.failing = failing;
        }
        lines
    }

    /// What came in on a channel; the rest waits for the next turn.
    pub(crate) fn receive(&self, number: u8) -> Received {
        let mut received = Received::default();
        let way = self.ways.get(usize::from(number));
        let Some(socket) = way.and_then(|way| way.socket.as_ref()) else { return received };
        // One byte more than a packet, so that a longer one is seen to be longer.
        let mut bytes = [0; PACKET_BYTES + 1];
        for _ in 0..PER_TURN {
            match recv(socket, &mut bytes[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    match self.seal.open(number, bytes.get(..length).unwrap_or_default()) {
                        Ok(heartbeat) => received.heartbeats.push(heartbeat),
                        Err(error) => received.refused = Some(error),
                    }
                }
                // An ICMP error about what was sent: the silence that follows says enough.
                Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) => {}
                Err(_) => break,
            }
        }
        received
    }
}

impl Way {
    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(&self.channel)?,
        };
        let to = self.channel.peer;
        let send = || sendto(&socket, packet, SendFlags::empty(), &to);
        // The first attempt may only report an ICMP error about an earlier datagram.
        let sent = match send() {
            Err(Errno::CONNREFUSED) => send(),
            other => other,
        };
        if !matches!(sent, Err(Errno::NODEV | Errno::NXIO)) {
            self.socket = Some(socket);
        }
        Ok(sent.map(|_| ())?)
    }
}

fn open(channel: &Channel) -> io::Result<OwnedFd> {
    let six = channel.local.is_ipv6();
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    // The address may come later: the link is still down, or IPv6's check of it still runs.
    if six {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    } else {
        sockopt::set_ip_freebind(&socket, true)?;
    }
    if let Some(link) = &channel.link {
        // Channels of links listen on every address of their link, beside those that have one.
        bind_to_link(&socket, link)?;
    }
    // For that they all have to say that they share the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &channel.local)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    use failover::{Action, Data, Event, Failover, Heartbeat, Recall};

    use super::*;
    use crate::keeper::config::Failover as Choice;

    const KEY: &str = "0123456789abcdef";

    fn free_port() -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        socket.local_addr().expect("an address")
    }

    fn channel(local: SocketAddr, peer: SocketAddr, link: Option<&str>) -> Channel {
        Channel { name: "test".to_owned(), local, peer, link: link.map(str::to_owned) }
    }

    fn heartbeat() -> Heartbeat {
        let settings = failover::Settings {
            cluster: 1,
            side: failover::Side::A,
            arbiter: Choice::default().arbiter(),
            times: Choice::default().times(),
            rules: failover::Rules::ALL,
        };
        let mut actions = Vec::new();
        let boot = Event::Boot { recall: Recall::Missing, data: Data::Missing, nonce: 1 };
        Failover::new(settings).step(std::time::Duration::ZERO, &boot, &mut actions);
        let sent = actions.iter().find_map(|action| match action {
            Action::Send(heartbeat) => Some(*heartbeat),
            _ => None,
        });
        sent.expect("it speaks at once")
    }

    #[test]
    fn a_heartbeat_arrives_and_rubbish_is_refused() {
        let (here, there) = (free_port(), free_port());
        let mut ours = Channels::new(&[channel(here, there, None)], Seal::new(KEY));
        let mut theirs = Channels::new(&[channel(there, here, Some("lo"))], Seal::new(KEY));
        // The first one opens the socket, and may find nobody at the other end.
        assert_eq!(theirs.send(&heartbeat()), Vec::<String>::new());
        assert_eq!(ours.send(&heartbeat()), Vec::<String>::new());
        assert_eq!(theirs.receive(0).heartbeats, [heartbeat()]);
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        stranger.send_to(&[0; PACKET_BYTES + 5], there).expect("sent");
        let received = theirs.receive(0);
        assert!(received.heartbeats.is_empty());
        assert_eq!(received.refused, Some(PacketError::Strange(PACKET_BYTES + 1)));
    }

    #[test]
    fn a_link_that_is_not_there_is_said_once_and_tried_again() {
        let way = channel(free_port(), free_port(), Some("no-such-link"));
        let mut channels = Channels::new(&[way], Seal::new(KEY));
        let lines = channels.send(&heartbeat());
        assert!(lines[0].contains("channel \"test\" can't send"), "{lines:?}");
        assert!(channels.send(&heartbeat()).is_empty());
        assert_eq!(channels.sockets().count(), 0);
    }
}
