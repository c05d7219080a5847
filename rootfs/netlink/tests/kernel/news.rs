//! The monitor hears what happens, and says when it missed something.

use std::os::fd::AsFd;

use netlink::{Address, Event, LinkId, Monitor, NewKind, NewLink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::links::{make_pair, open};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("carrier_addresses_and_ends_of_links_are_heard", heard),
    ("leaving_a_bridge_is_not_the_end_of_a_link", leaves_bridge),
    ("lost_news_are_said_to_be_lost", lost),
];

/// Nothing here takes longer than the kernel's own delay of a carrier's change, a second.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Waits for news until some satisfy.
fn wait_for(monitor: &mut Monitor, satisfies: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut heard = Vec::new();
    loop {
        while let Some(event) = monitor.event().expect("heard") {
            let done = satisfies(&event);
            heard.push(event);
            if done {
                return heard;
            }
        }
        let mut input = [PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN)];
        let ready = poll(&mut input, Some(&PATIENCE)).expect("polled");
        assert!(ready > 0, "nothing more after {heard:#?}");
    }
}

fn carrier_of(link: &LinkId, wanted: bool) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Link(it) if it.id == *link && it.carrier == wanted)
}

fn heard() -> Outcome {
    let mut netlink = open();
    let mut monitor = Monitor::open().expect("a socket");
    assert_eq!(monitor.event().expect("nothing yet"), None);
    let (left, right) = make_pair(&mut netlink);
    for link in [&left, &right] {
        netlink.set_up(link, true).expect("up");
    }
    wait_for(&mut monitor, carrier_of(&left, true));
    let address = Address::new("10.9.0.1".parse().expect("ip"), 24);
    let is_it = |index: u32, it: &Address| index == left.index && it.ip == address.ip;
    netlink.add_address(&left, &address).expect("given");
    wait_for(&mut monitor, |event| matches!(event, Event::Address(link, it) if is_it(*link, it)));
    netlink.delete_address(&left, &address).expect("taken");
    wait_for(
        &mut monitor,
        |event| matches!(event, Event::AddressGone(link, it) if is_it(*link, it)),
    );
    netlink.set_up(&right, false).expect("down");
    wait_for(&mut monitor, carrier_of(&left, false));
    netlink.delete_link(&right).expect("removed");
    wait_for(&mut monitor, |event| matches!(event, Event::LinkGone(id) if *id == left));
    Outcome::Passed
}

fn leaves_bridge() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    if let Err(error) = netlink.create(&NewLink::new("switch", NewKind::Bridge)) {
        return Outcome::Skipped(error.to_string());
    }
    let bridge = netlink.link("switch").expect("listed").id;
    netlink.set_master(&left, Some(&bridge)).expect("taken");
    let mut monitor = Monitor::open().expect("a socket");
    netlink.set_master(&left, None).expect("let go");
    netlink.delete_link(&bridge).expect("removed");
    let heard =
        wait_for(&mut monitor, |event| matches!(event, Event::LinkGone(id) if *id == bridge));
    let misheard = |event: &Event| matches!(event, Event::LinkGone(id) if *id == left);
    assert!(!heard.iter().any(misheard), "{heard:#?}");
    Outcome::Passed
}

fn lost() -> Outcome {
    /// More than the monitor's buffer holds: each change of a link is over a kilobyte of news.
    const CHANGES: usize = 4000;
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    let mut monitor = Monitor::open().expect("a socket");
    for number in 0..CHANGES {
        netlink.set_up(&left, number % 2 == 0).expect("set");
    }
    wait_for(&mut monitor, |event| *event == Event::Lost);
    while monitor.event().expect("the rest").is_some() {}
    netlink.set_up(&left, true).expect("up");
    wait_for(&mut monitor, |event| matches!(event, Event::Link(it) if it.id == left && it.up));
    Outcome::Passed
}
