//! Connections of an address that goes away or moves here are ended at once.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink::{Address, LinkId, Netlink, NetlinkError, Sockets};
use rustix::net::{AddressFamily, SocketType, bind, connect as connect_socket, socket};

use crate::links::{id, make_pair, open};
use crate::namespace::{another, inside};
use crate::runner::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("connections_of_an_address_end_and_others_stay", destroyed),
    ("connections_to_a_former_holder_end_and_those_to_ourselves_stay", outgoing),
];

/// Both ends of a connection to a listener at `address`.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().expect("bound");
    let near = TcpStream::connect(address).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    (near, far)
}

/// The same, once there is a way: the kernel makes the route to an IPv6 address a moment after it has
/// the address, and until then nobody, or whoever has the address elsewhere, is at its end.
fn connect_once_routed(listener: &TcpListener) -> (TcpStream, TcpStream) {
    const LIMIT: Duration = Duration::from_secs(30);
    let no_way =
        [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable, ErrorKind::ConnectionRefused];
    let (address, started) = (listener.local_addr().expect("bound"), Instant::now());
    let near = loop {
        match TcpStream::connect(address) {
            Ok(near) => break near,
            Err(error) => assert!(no_way.contains(&error.kind()), "{error}"),
        }
        assert!(started.elapsed() < LIMIT, "no route to {address}");
        std::thread::yield_now();
    };
    let (far, _) = listener.accept().expect("accepted");
    (near, far)
}

/// Gives the link an address, and listens at it.
fn listen_at(netlink: &mut Netlink, link: &LinkId, ip: IpAddr) -> TcpListener {
    let prefix = if ip.is_ipv4() { 32 } else { 128 };
    let address = Address { no_dad: true, ..Address::new(ip, prefix) };
    netlink.add_address(link, &address).expect("given");
    let bound = TcpListener::bind(SocketAddr::new(ip, 0)).expect("bound");
    let _there_is_a_way = connect_once_routed(&bound);
    bound
}

/// Both ends of a connection that begins at an address of our choice.
fn connect_from(own: IpAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let near = socket(family, SocketType::STREAM, None).expect("a socket");
    bind(&near, &SocketAddr::new(own, 0)).expect("bound");
    connect_socket(&near, &listener.local_addr().expect("bound")).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    (near.into(), far)
}

fn assert_ended(mut stream: &TcpStream) {
    let error = stream.read(&mut [0]).expect_err("ended");
    let ended = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
    assert!(ended.contains(&error.kind()), "{error}");
}

fn assert_lives(mut stream: &TcpStream) {
    stream.set_nonblocking(true).expect("set");
    let error = stream.read(&mut [0]).expect_err("nothing to read");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "this connection lives");
}

/// One connection leads to another machine that has the address. Those that are made once it is here
/// begin at the address itself, as the kernel chooses, or at another of ours, as a program may.
fn outgoing() -> Outcome {
    let mut netlink = open();
    let loopback = id(&mut netlink, "lo");
    let (left, right) = make_pair(&mut netlink);
    let elsewhere = another();
    netlink.move_to(&right, elsewhere.as_fd()).expect("moved");
    netlink.set_up(&loopback, true).expect("up");
    netlink.set_up(&left, true).expect("up");
    for (own, ip, prefix) in [("10.9.0.8", "10.9.0.7", 24), ("fd09::8", "fd09::7", 64)] {
        let (own, ip): (IpAddr, IpAddr) = (own.parse().expect("ip"), ip.parse().expect("ip"));
        let on_link = |ip| Address { no_dad: true, ..Address::new(ip, prefix) };
        netlink.add_address(&left, &on_link(own)).expect("given");
        let former = inside(&elsewhere, || {
            let mut netlink = open();
            let right = id(&mut netlink, "right");
            netlink.set_up(&right, true).expect("up");
            netlink.add_address(&right, &on_link(ip)).expect("given");
            TcpListener::bind(SocketAddr::new(ip, 0)).expect("bound")
        });
        let (to_former, _kept_there) = connect_once_routed(&former);
        let bound = listen_at(&mut netlink, &loopback, ip);
        let (from_own, _far) = connect_from(own, &bound);
        let (from_itself, _kept) = connect(&bound);
        assert_eq!(from_itself.local_addr().expect("bound").ip(), ip, "as the kernel chooses");
        match Sockets::open().expect("a socket").destroy_outgoing(ip) {
            Ok(count) => assert_eq!(count, 1, "the one that leads to the former holder"),
            Err(error @ NetlinkError::CannotDestroy { .. }) => {
                return Outcome::Skipped(error.to_string());
            }
            Err(error) => panic!("{error}"),
        }
        assert_ended(&to_former);
        assert_lives(&from_own);
        assert_lives(&from_itself);
    }
    Outcome::Passed
}

fn destroyed() -> Outcome {
    let mut netlink = open();
    let loopback = id(&mut netlink, "lo");
    netlink.set_up(&loopback, true).expect("up");
    for (ip, any) in [("10.9.0.7", "[::]:0"), ("fd09::7", "[fd09::7]:0")] {
        let ip: IpAddr = ip.parse().expect("ip");
        let bound = listen_at(&mut netlink, &loopback, ip);
        // One that listens on everything has the IPv4 address in its mapped form.
        let wide = TcpListener::bind(any).expect("bound");
        let wide_port = wide.local_addr().expect("bound").port();
        let other = TcpListener::bind("127.0.0.1:0").expect("bound");
        let (near, far) = connect(&bound);
        let through_ipv6 = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            IpAddr::V6(_) => ip,
        };
        let mapped = SocketAddr::new(through_ipv6, wide_port);
        let mapped = TcpStream::connect(mapped).expect("connected");
        let (mapped_far, _) = wide.accept().expect("accepted");
        let (bystander, _kept) = connect(&other);
        match Sockets::open().expect("a socket").destroy(ip) {
            // Ending one end resets the other, which then may need no ending any more.
            // The connection that tried the route may linger in the kernel.
            Ok(count) => assert!((2..=6).contains(&count), "two connections: {count}"),
            Err(error @ NetlinkError::CannotDestroy { .. }) => {
                return Outcome::Skipped(error.to_string());
            }
            Err(error) => panic!("{error}"),
        }
        for stream in [&near, &far, &mapped, &mapped_far] {
            assert_ended(stream);
        }
        assert_lives(&bystander);
        // The listener lives too.
        let _again = connect(&bound);
    }
    Outcome::Passed
}
