//! Connections of an address that goes away are ended at once.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use netlink::{Address, NetlinkError, Sockets};

use crate::links::{id, open};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[("connections_of_an_address_end_and_others_stay", destroyed)];

/// Both ends of a connection to a listener at `address`.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().expect("bound");
    let near = TcpStream::connect(address).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    (near, far)
}

fn destroyed() -> Outcome {
    let mut netlink = open();
    let loopback = id(&mut netlink, "lo");
    netlink.set_up(&loopback, true).expect("up");
    for (ip, prefix, any) in [("10.9.0.7", 32, "[::]:0"), ("fd09::7", 128, "[fd09::7]:0")] {
        let ip: IpAddr = ip.parse().expect("ip");
        let address = Address { no_dad: true, ..Address::new(ip, prefix) };
        netlink.add_address(&loopback, &address).expect("given");
        let bound = TcpListener::bind(SocketAddr::new(ip, 0)).expect("bound");
        // One that listens on everything has the IPv4 address in its mapped form.
        let wide = TcpListener::bind(any).expect("bound");
        let wide_port = wide.local_addr().expect("bound").port();
        let other = TcpListener::bind("127.0.0.1:0").expect("bound");
        let (mut near, mut far) = connect(&bound);
        let mut mapped = TcpStream::connect(SocketAddr::new(ip, wide_port)).expect("connected");
        let (mut mapped_far, _) = wide.accept().expect("accepted");
        let (bystander, _kept) = connect(&other);
        match Sockets::open().expect("a socket").destroy(ip) {
            // Ending one end resets the other, which then may need no ending any more.
            Ok(count) => assert!((2..=4).contains(&count), "two connections: {count}"),
            Err(error @ NetlinkError::CannotDestroy { .. }) => {
                return Outcome::Skipped(error.to_string());
            }
            Err(error) => panic!("{error}"),
        }
        for stream in [&mut near, &mut far, &mut mapped, &mut mapped_far] {
            let error = stream.read(&mut [0]).expect_err("ended");
            let kind = error.kind();
            let ended = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
            assert!(ended.contains(&kind), "{error}");
        }
        bystander.set_nonblocking(true).expect("set");
        let error = (&bystander).read(&mut [0]).expect_err("nothing to read");
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "the other connection lives");
        // The listener lives too.
        let _again = connect(&bound);
    }
    Outcome::Passed
}
