//! The configuration file: what it means, and what is said about each mistake.

use std::time::Duration;

use proptest::prelude::*;
use vipd::Config;
use vipd::config::{CONTROL_SOCKET, Permit, Subject};
use vrrp::packet::{Authentication, Ipv4Checksum};
use vrrp::{Priority, Version};

const LEAST: &str = "[[instances]]
name = 'api'
interface = 'eth0'
vrid = 51
addresses = ['192.0.2.10/24']
";

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The one thing that is wrong with the least file and something more.
fn wrong_with(more: &str) -> String {
    let mut all = problems(&format!("{LEAST}{more}"));
    assert_eq!(all.len(), 1, "{more}: {all:#?}");
    all.remove(0)
}

#[test]
fn the_least_file_has_the_defaults_of_the_readme() {
    let config = Config::parse(LEAST).expect("good");
    assert_eq!(config.control.to_str(), Some(CONTROL_SOCKET));
    assert_eq!(config.realtime_priority, Some(20));
    assert!(!config.wants_permit());
    let one = &config.instances[0];
    assert_eq!((one.version, one.priority, one.preempt), (Version::V3, Priority::DEFAULT, false));
    assert_eq!(one.interval.duration(), Duration::from_secs(1));
    assert_eq!(one.announce, Some(Duration::from_secs(30)));
    assert_eq!((one.checksum, one.permit), (Ipv4Checksum::PacketOnly, Permit::None));
    assert_eq!((one.least_ttl, one.virtual_mac, one.link_local_first), (255, false, false));
    assert_eq!((one.authentication, one.signing.clone()), (Authentication::None, None));
    assert!(one.peers.is_empty() && one.checks.is_empty());
}

#[test]
fn an_address_without_prefix_stands_alone() {
    let text = LEAST.replace("192.0.2.10/24", "2001:db8::10").replace("192.0.2.10", "");
    let config = Config::parse(&text).expect("good");
    assert_eq!(config.instances[0].addresses[0].prefix, 128);
}

#[test]
fn checks_have_their_subjects() {
    let more = "[[instances.checks]]\nname = 'a'\nkind = 'tcp'\nport = 6443\n\
                [[instances.checks]]\nname = 'b'\nkind = 'http'\nurl = 'https://[::1]:6443/x'\n";
    let config = Config::parse(&format!("{LEAST}{more}")).expect("good");
    let subjects: Vec<_> = config.instances[0].checks.iter().map(|check| &check.subject).collect();
    assert_eq!(subjects[0], &Subject::Tcp("127.0.0.1:6443".parse().expect("an address")));
    let Subject::Http { url, .. } = subjects[1] else { panic!("{subjects:?}") };
    assert_eq!(url.to_string(), "https://[::1]:6443/x");
}

#[test]
fn every_mistake_names_line_key_and_mend() {
    let cases = [
        ("state = 'MASTER'", "6: instances[0].state: unknown key; known here: name, interface"),
        ("preemt = true", "6: instances[0].preemt: unknown key; did you mean `preempt`?"),
        ("priority = 0", "6: instances[0].priority: 0 is out of bounds; write a number from 1"),
        ("priority = '9'", "6: instances[0].priority: string where a number belongs; write"),
        ("interval = '15ms'", "6: instances[0].interval: no such interval; version 3 has hundr"),
        ("interval = '1h'", "6: instances[0].interval: \"1h\" is no duration; write a whole"),
        ("version = 4", "6: instances[0].version: 4 is out of bounds; write a number from 2 to 3"),
        ("preempt_delay = '1s'", "6: instances[0].preempt_delay: a delay of preemption without"),
        ("permit = 'yes'", "6: instances[0].permit: \"yes\" is unknown; write \"none\" or \"pgk"),
        ("peers = ['fe80::2']", "6: instances[0].peers: the IPv4 addresses and the IPv4 peers"),
        ("password = 'x'", "6: instances[0].password: password and authentication don't agree"),
        ("authentication = 'hmac'", "instances[0].keys: keys and authentication don't agree"),
        ("source = ['fe80::1']", "6: instances[0].source: an IPv6 source for no IPv6 address"),
        (
            "peers = ['192.0.2.2']\nvirtual_mac = true",
            "7: instances[0].virtual_mac: a virtual MAC with unicast peers; unicast crosses",
        ),
        (
            "[[instances.checks]]\nname = 'a'\nkind = 'tcp'",
            "6: instances[0].checks[0].port: `port` is missing; write for example `port = 6443`",
        ),
        (
            "[[instances.checks]]\nname = 'a'\nkind = 'file'\npath = '/x'\nport = 1",
            "10: instances[0].checks[0].port: belongs to checks of kind \"tcp\"; remove it",
        ),
        (
            "[[instances.checks]]\nname = 'a'\nkind = 'command'\ncommand = ['curl']",
            "9: instances[0].checks[0].command: no program with an absolute path; write",
        ),
        (
            "[[instances.checks]]\nname = 'a'\nkind = 'http'\nurl = 'http://api/'",
            "9: instances[0].checks[0].url: \"api\" is not an address; write an IP address",
        ),
        (
            "priority = 255\n[[instances.checks]]\nname = 'a'\nkind = 'file'\npath = '/x'\nweight = -1",
            "6: instances[0].priority: the owner's priority does not change; choose 254",
        ),
        (
            "[[instances.checks]]\nname = 'a'\nkind = 'file'\npath = '/x'\nweight = -1",
            "1: instances[0].preempt: a check with a weight, and no preemption: nobody takes over",
        ),
        (
            "authentication = 'hmac'\n[[instances.keys]]\nsecret = 'hex:00'",
            "8: instances[0].keys[0].secret: a key of 1 bytes: it needs 32 to 64; make one",
        ),
    ];
    for (more, expected) in cases {
        let all = problems(&format!("{LEAST}{more}"));
        assert!(all.iter().any(|said| said.contains(expected)), "{more}: {all:#?}");
    }
}

#[test]
fn mistakes_between_instances_are_found() {
    let second = |name: &str, vrid: u8, address: &str| {
        format!(
            "[[instances]]\nname = '{name}'\ninterface = 'eth0'\nvrid = {vrid}\n\
             addresses = ['{address}']"
        )
    };
    assert_eq!(
        wrong_with(&second("api", 52, "192.0.2.11")),
        "7: instances[1].name: two instances are called \"api\"; give each its own name"
    );
    assert_eq!(
        wrong_with(&second("b", 51, "192.0.2.11")),
        "9: instances[1].vrid: \"api\" has VRID 51 on this interface; choose another, free on the \
         whole network"
    );
    assert_eq!(
        wrong_with(&second("b", 52, "192.0.2.10")),
        "10: instances[1].addresses: \"api\" has 192.0.2.10 already; give an address to one \
         instance only"
    );
    assert!(problems(&format!("{LEAST}{}", second("b", 51, "fe80::10"))).is_empty());
}

#[test]
fn all_mistakes_are_said_at_once_and_in_order() {
    let text = LEAST.replace("vrid = 51", "vrid = 0").replace("'eth0'", "'a name too long for it'");
    let all = problems(&format!("{text}typo = 1\n"));
    let lines: Vec<&str> = all.iter().filter_map(|said| said.split(':').next()).collect();
    assert_eq!(lines, ["3", "4", "6"], "{all:#?}");
}

#[test]
fn what_is_no_toml_has_its_line() {
    let all = problems("control = '/x'\n[[instances]\n");
    assert_eq!(all.len(), 1);
    assert!(all[0].starts_with("2: "), "{all:?}");
    assert_eq!(problems("").len(), 1, "an empty file has nothing to do");
}

#[test]
fn a_secret_is_never_repeated() {
    let more = "authentication = 'hmac'\n[[instances.keys]]\nsecret = 'hex:0123456789zz'";
    let all = problems(&format!("{LEAST}{more}")).join("\n");
    assert!(all.contains("is not hexadecimal") && !all.contains("0123456789"), "{all}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = Config::parse(&text);
    }

    /// Values of every kind below every key.
    #[test]
    fn no_value_panics(
        key in prop::sample::select(vec![
            "name", "interface", "vrid", "addresses", "version", "priority", "interval", "preempt",
            "preempt_delay", "source", "peers", "least_ttl", "authentication", "password", "keys",
            "active_key", "clock_window", "checksum", "permit", "virtual_mac", "announce", "checks",
        ]),
        value in prop::sample::select(vec![
            "1", "-1", "99999999999999999999", "0x10", "1.5", "true", "''", "'1s'", "'\u{e9}'",
            "[]", "[1]", "['a']", "[[]]", "{}", "[{}]", "[{ name = 'x', kind = 'tcp' }]",
            "1979-05-27", "'hex:'", "'hex:\u{e9}1'", "'http://[::1'", "'::/0'",
        ])
    ) {
        let _ = Config::parse(&format!("[[instances]]\n{key} = {value}\n"));
        let _ = Config::parse(&format!("[[instances]]\n[[instances.checks]]\n{key} = {value}\n"));
        let _ = Config::parse(&format!("{key} = {value}\n"));
    }
}
