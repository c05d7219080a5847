//! A stranger on the wire that wants the address.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::claims;
use qemu_tests::rig::fault::Stop;
use vrrp::packet::{
    Authentication, Freshness, Ipv4Checksum, Key, Keyring, Outgoing, Signer, Writing,
};
use vrrp::wellknown::Family;
use vrrp::{Interval, Version};

use super::patience;

/// The best that an advert can claim.
const HIGHEST: u8 = 255;
const ADVERTS: u32 = 24;
/// What vipd says of packets that it drops is on the disk soon after.
const LOG_LIMIT: Duration = Duration::from_secs(20);
const LOG: &str = "/state/logs/vipd.log";
const REASONS: [&str; 2] = ["the signature is wrong", "the advert is not signed"];

pub(super) fn spoofed_advert(t: &mut Drill) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    let clients = t.start_clients()?;
    let (unsigned, forged) = (frame(t, None)?, frame(t, Some(forger()?))?);
    t.mark();
    let mut stranger = t.stranger()?;
    for number in 0..ADVERTS {
        let frame = if number % 2 == 0 { &unsigned } else { &forged };
        stranger.send(frame).map_err(|error| Stop::Unknown(format!("the stranger: {error}")))?;
        sleep(t.adverts(1) / 2);
    }
    t.mark();
    t.expect("the owner goes on", claims(owner), t.adverts(2))?;
    let strange = t.cluster.stranger;
    let of_nodes: Vec<_> = t.reigns().into_iter().filter(|reign| reign.port != strange).collect();
    let alone = of_nodes.iter().all(|reign| reign.port == t.port(owner));
    t.assert("no node but the owner adverts", alone, format!("{of_nodes:?}"));
    for node in [owner, peer] {
        let said = reported(t, node)?;
        let name = t.name(node).to_owned();
        t.assert(
            &format!("{name} reports both kinds"),
            said.is_ok(),
            said.unwrap_or_else(|log| log),
        );
    }
    let history = t.finish_clients(clients)?;
    let gap = t.longest_gap(&history, patience(t));
    t.check(gap);
    t.settle()
}

/// What a node's log says of the stranger's packets; an error if it lacks one of the reasons.
fn reported(t: &Drill, node: qemu_tests::rig::fault::Node) -> Result<Result<String, String>, Stop> {
    let deadline = t.now() + LOG_LIMIT;
    loop {
        let log = t.read_file(node, LOG)?;
        if REASONS.iter().all(|reason| log.contains(reason)) {
            return Ok(Ok("named in its log".to_owned()));
        }
        if t.now() > deadline {
            return Ok(Err(log));
        }
        sleep(Duration::from_millis(500));
    }
}

/// A key of the right form that nobody else has.
fn forger() -> Result<Keyring, Stop> {
    let made = Key::new(1, &[7; 32]).ok().and_then(|key| Keyring::new(vec![key], 1).ok());
    made.ok_or_else(|| Stop::Unknown("no key can be made".to_owned()))
}

/// An advert for the run's address that beats everybody, as a frame.
fn frame(t: &Drill, keyring: Option<Keyring>) -> Result<Vec<u8>, Stop> {
    let vip = t.vip()?;
    let family = Family::of(&vip.address);
    let source = match vip.address {
        IpAddr::V4(_) => IpAddr::from([192, 168, 78, 99]),
        IpAddr::V6(_) => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0x99]),
    };
    let writing = Writing {
        source,
        destination: family.group(),
        ipv4_checksum: Ipv4Checksum::PacketOnly,
        authentication: Authentication::None,
        first_ipv6_link_local: false,
    };
    let interval = Interval::from_centiseconds(25).unwrap_or(Interval::DEFAULT);
    let outgoing = Outgoing {
        version: Version::V3,
        vrid: vip.vrid,
        priority: HIGHEST,
        interval,
        addresses: &[vip.address],
    };
    let mut bytes = [0; 128];
    let unwritten = |error: &dyn std::fmt::Display| Stop::Unknown(format!("the advert: {error}"));
    let mut length = outgoing.encode(&writing, &mut bytes).map_err(|error| unwritten(&error))?;
    if let Some(keyring) = keyring {
        // Far in the future of any node's clock, so that it is refused for its signature alone.
        let now = Duration::from_secs(1 << 33);
        let signed = Signer::default().sign(
            &keyring,
            Freshness::Monotonic,
            now,
            &writing,
            &mut bytes,
            length,
        );
        length = signed.map_err(|error| unwritten(&error))?;
    }
    let advert = bytes.get(..length).unwrap_or_default();
    let frame = vipd::frames::advert([2, 0, 0, 0, 0, 0x99], source, family.group(), advert);
    frame.ok_or_else(|| Stop::Unknown("no frame can be made".to_owned()))
}
