//! A short fuzzing run of what the VIP daemon reads: packets, frames, permits and its file. For a long
//! one: `FUZZ_ROUNDS=1000000 cargo test -p qemu-tests --test fuzz_vip`.

use std::net::IpAddr;
use std::time::Duration;

use qemu_tests::fuzz::Target;
use vrrp::packet::{
    AcceptedChecksum, Admission, Freshness, Key, Keyring, Metadata, Verifier, parse,
};
use vrrp::wellknown::{Family, TTL};
use vrrp::{Interval, Version};

const ROUNDS: u64 = 50_000;
/// The same inputs in every run: a red run must be red again.
const SEED: u64 = 20_261_120;

fn run(target: &Target) {
    let given = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    if let Err(broken) = target.fuzz(SEED, given.unwrap_or(ROUNDS)) {
        panic!("{}, round {}: {}\n{:?}", target.name, broken.round, broken.how, broken.input);
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn packet_of(source: IpAddr, input: &[u8]) {
    let metadata = Metadata { source, destination: Family::of(&source).group(), ttl: TTL };
    let Ok(advert) = parse(input, &metadata, AcceptedChecksum::Either) else { return };
    assert_eq!(advert.addresses.iter().count(), advert.addresses.count());
    let _ = Admission::strict(Version::V3, 51, Interval::DEFAULT).admit(&advert, &metadata);
    let key = Key::new(1, &[7; 32]).expect("a key");
    let keyring = Keyring::new(vec![key], 1).expect("a ring");
    let verdict = Verifier::default().verify(
        &keyring,
        Freshness::Monotonic,
        Duration::from_secs(1_000_000),
        source,
        &advert,
    );
    assert!(advert.trailer.is_none() || verdict.is_err(), "nobody guesses a signature");
}

#[test]
fn packets() {
    let corpus = vec![
        bytes("21336402010105f3c0a8c810c0a8c8113131313100000000"),
        bytes("31336401003278a6c0a8c810"),
        bytes("3133640200643ffafe80000000000000000000000000000120010db8000000000000000000000001"),
        bytes(
            "3133c80100644402c0000264010100006800000080000000\
             1b84bc4e8e43892dc6d98448f8ee2265",
        ),
    ];
    let run_packet = |input: &[u8]| {
        packet_of([192, 0, 2, 1].into(), input);
        packet_of([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), input);
    };
    run(&Target { name: "vrrp packets", corpus, run: run_packet });
}

#[test]
fn claims() {
    let mac = [2, 0, 0, 0, 0, 9];
    let vip6 = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let corpus = vec![
        vrrp::announce::gratuitous_arp(mac, [192, 0, 2, 1].into()).to_vec(),
        vrrp::announce::neighbour_advertisement(mac, vip6, vip6, false).to_vec(),
    ];
    let run_claim = |input: &[u8]| {
        let ours = [IpAddr::from([192, 0, 2, 1])];
        let claim = vipd::claims::claim(input, &ours, &[]);
        assert!(claim.is_none_or(|claim| ours.contains(&claim.address)));
    };
    run(&Target { name: "claims", corpus, run: run_claim });
}

#[test]
fn permits() {
    let message = vrrp::permit::Message::Grant { epoch: 7, until: Duration::from_secs(9) };
    let run_permit = |input: &[u8]| {
        if let Ok(message) = vrrp::permit::Message::decode(input) {
            assert_eq!(vrrp::permit::Message::decode(&message.encode()), Ok(message));
        }
    };
    run(&Target { name: "permits", corpus: vec![message.encode().to_vec()], run: run_permit });
}

#[test]
fn configurations() {
    let corpus = vec![
        b"[[instances]]\nname = 'a'\ninterface = 'eth0'\nvrid = 51\naddresses = ['192.0.2.1/24']\n\
          [[instances.checks]]\nname = 'b'\nkind = 'http'\nurl = 'http://[::1]:80/'\n"
            .to_vec(),
        b"[[instances]]\nauthentication = 'hmac'\n[[instances.keys]]\nsecret = 'hex:00'\n".to_vec(),
    ];
    let run_configuration = |input: &[u8]| {
        if let Err(problems) = vipd::Config::parse(&String::from_utf8_lossy(input)) {
            assert!(problems.iter().all(|problem| problem.line > 0));
        }
    };
    run(&Target { name: "configurations", corpus, run: run_configuration });
}
