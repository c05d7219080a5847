//! What single values accept, refuse, and mean.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use seed::Wrong;
use seed::scalar::{
    AbsolutePath, AddressRange, Bytes, Cidr, Destination, DurationText, Endpoint, HostName,
    Identifier, LinkName, MacAddress, Network, NodeLabel, NodeName, NodeTaint, Url,
};

/// Every text of the first list is accepted and prints as the second says; the others are refused.
fn check<T: FromStr<Err = Wrong> + Display>(accepted: &[(&str, &str)], refused: &[&str]) {
    for (text, printed) in accepted {
        let value = text.parse::<T>().unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        assert_eq!(value.to_string(), *printed);
    }
    for text in refused {
        if let Ok(value) = text.parse::<T>() {
            panic!("\"{text}\" is accepted as {value}");
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn names() {
    let long = "a".repeat(64);
    check::<NodeName>(
        &[("node1", "node1"), ("0", "0")],
        &["", "Node", "a.b", "-a", "a-", "a_b", "é", &long],
    );
    check::<LinkName>(
        &[("eth0.20", "eth0.20")],
        &["", "lo", "a/b", "a b", "..", "sixteen-letters-", "all"],
    );
    check::<Identifier>(&[("k3s_1", "k3s_1")], &["", "1a", "a-b", "A", "pg_x", "a\"b", "a;b"]);
    check::<HostName>(
        &[("ntp.example.org", "ntp.example.org"), ("::1", "::1"), ("10.0.0.1", "10.0.0.1")],
        &["", ".", "a..b", "a.", "-a", "10.0.0.300", "a b", "a:1", "10"],
    );
}

#[test]
fn addresses() {
    check::<Cidr>(
        &[("10.0.0.1/8", "10.0.0.1/8"), ("FD77::0:1/64", "fd77::1/64")],
        &[
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0.1/0",
            "::1/129",
            "x/24",
            "10.0.0.1/ 8",
            "/8",
        ],
    );
    check::<Network>(&[("10.0.0.0/8", "10.0.0.0/8"), ("fd00::/8", "fd00::/8")], &["10.0.0.1/8"]);
    check::<Destination>(
        &[("default", "default"), ("0.0.0.0/0", "default"), ("::/0", "default")],
        &["everywhere", "10.0.0.1"],
    );
    check::<MacAddress>(
        &[("52-54-00-AA-00-01", "52:54:00:aa:00:01")],
        &["", "52:54:00:aa:00", "52:54:00:aa:00:01:02", "5:54:00:aa:00:011", "+2:54:00:aa:00:01"],
    );
    check::<AddressRange>(
        &[("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9"), ("10.0.0.0/30", "10.0.0.0-10.0.0.3")],
        &["10.0.0.1", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0.1/30", "-"],
    );
    check::<Endpoint>(
        &[("h:1", "h:1"), ("[::1]:80", "[::1]:80")],
        &["h", "h:", "h:0", "h:65536", "::1:80", "[::1]", ":80"],
    );
    check::<Url>(
        &[("https://[::1]:6443/x", "https://[::1]:6443/x"), ("http://h", "http://h")],
        &[
            "h",
            "ftp://h",
            "https://",
            "https://a@h",
            "https://h:x",
            "https://h/ x",
            "https://[::1",
            "https://[h]:1",
            "http://h?x",
        ],
    );
}

#[test]
fn networks_know_what_is_in_them() {
    let lan: Cidr = "192.168.77.11/24".parse().expect("an address");
    assert!(lan.contains(ip("192.168.77.255")) && !lan.contains(ip("192.168.78.0")));
    assert!(!lan.contains(ip("::ffff:192.168.77.1")), "families don't mix");
    assert_eq!(lan.network(), ip("192.168.77.0"));
    let no_host = |text: &str| !text.parse::<Cidr>().expect("an address").is_host();
    assert!(no_host("10.0.0.0/24") && no_host("10.0.0.255/24") && no_host("fd77::/64"));
    assert!(!no_host("10.0.0.1/24") && !no_host("10.0.0.0/31") && !no_host("10.0.0.1/32"));
    assert!(!no_host("fd77::1/128") && !no_host("fd77::ffff:ffff:ffff:ffff/64"));
    let whole: Cidr = "fd77::1/1".parse().expect("an address");
    assert!(whole.contains(ip("8000::")));
    let network = |text: &str| text.parse::<Network>().expect("a network");
    assert!(network("10.0.0.0/8").overlaps(network("10.42.0.0/16")));
    assert!(network("10.42.0.0/16").overlaps(network("10.0.0.0/8")));
    assert!(!network("10.42.0.0/16").overlaps(network("10.43.0.0/16")));
    let pool: AddressRange = "10.0.0.9-10.0.0.20".parse().expect("a range");
    assert!(pool.contains(ip("10.0.0.9")) && pool.contains(ip("10.0.0.20")));
    assert!(!pool.contains(ip("10.0.0.8")) && !pool.contains(ip("10.0.0.21")));
    assert!(!pool.contains(ip("::a00:9")));
}

#[test]
fn quantities() {
    check::<DurationText>(
        &[
            ("10cs", "100ms"),
            ("1000ms", "1s"),
            ("90s", "90s"),
            ("120s", "2m"),
            ("48h", "2d"),
            ("0s", "0s"),
        ],
        &["", "1", "s", "-1s", "1.5s", "1 S", "1week", "367d", "99999999999999999999s"],
    );
    check::<Bytes>(
        &[("1024KiB", "1MiB"), ("1536MiB", "1536MiB"), ("0B", "0B"), ("7B", "7B")],
        &["", "1", "1MB", "1m", "-1B", "99999999TiB"],
    );
}

#[test]
fn forms() {
    check::<AbsolutePath>(&[("/state/x", "/state/x")], &["", "x", "/a/../b", "/a/./b", "/a\n"]);
    check::<NodeLabel>(
        &[("a.b/c-d=e_f", "a.b/c-d=e_f"), ("a=", "a=")],
        &["", "a", "=b", "a=b c", "a=-b", "a/b/c=d"],
    );
    check::<NodeTaint>(
        &[("k=v:NoSchedule", "k=v:NoSchedule"), ("k:NoExecute", "k:NoExecute")],
        &["", "k=v", "k=v:Never", "=v:NoSchedule"],
    );
}
