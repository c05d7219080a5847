//! What is said, and when.

use std::time::Duration;

use super::world::wanted;
use crate::network::change::Trouble;
use crate::network::{Network, PATIENCE, Places};

fn network() -> Network {
    let links = "[[links]]\nname = \"lan\"\nmatch = { name = \"eth0\" }\n\
                 addresses = [\"10.9.0.1/24\"]\n";
    Network::with(wanted(links), Places::of_the_node())
}

fn missing() -> Trouble {
    Trouble::NoCard { link: "lan".to_owned(), wanted: "called eth0".to_owned(), free: Vec::new() }
}

fn said(network: &mut Network, now: Duration) -> Vec<String> {
    let mut lines = Vec::new();
    network.speak_of_troubles(now, &mut lines);
    lines
}

#[test]
fn a_card_that_comes_in_time_bothers_nobody() {
    let mut network = network();
    network.troubles = vec![missing()];
    assert!(said(&mut network, Duration::from_secs(1)).is_empty());
    network.troubles.clear();
    assert!(said(&mut network, PATIENCE).is_empty());
}

#[test]
fn a_trouble_is_said_once_and_so_is_its_end() {
    let mut network = network();
    network.troubles = vec![missing()];
    let words = "link lan: no card called eth0; there is no other card";
    assert_eq!(said(&mut network, PATIENCE), [words]);
    assert!(said(&mut network, PATIENCE * 2).is_empty());
    let other = Trouble::Refused("give lan 10.9.0.1/24: no".to_owned());
    network.troubles = vec![missing(), other];
    assert_eq!(said(&mut network, PATIENCE * 2), ["give lan 10.9.0.1/24: no"]);
    network.troubles.clear();
    assert_eq!(said(&mut network, PATIENCE * 3), ["network: as the seed wants it"]);
}
