//! Any events at any times, also absurd ones: the machine stays whole.
//!
//! A clock that jumps backwards or to the end of time must cost at most an early or late takeover,
//! never a panic, and never an address that is added twice or left behind.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::election::ANNOUNCE_GAP;
use vrrp::{Action, Config, Election, Event, Heard, Interval, Priority, State, Version};

fn any_priority() -> impl Strategy<Value = Priority> {
    (1..=255_u8).prop_map(|priority| Priority::new(priority).expect("not zero"))
}

fn any_interval() -> impl Strategy<Value = Interval> {
    (1..=4095_u16).prop_map(|interval| Interval::from_centiseconds(interval).expect("fits"))
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..100_000_u64).prop_map(Duration::from_millis),
        Just(Duration::MAX),
        any::<u64>().prop_map(Duration::from_nanos),
    ]
}

fn any_advert() -> impl Strategy<Value = Heard> {
    (any::<u8>(), any_interval(), any::<[u8; 4]>()).prop_map(|(priority, interval, source)| Heard {
        priority,
        interval,
        source: IpAddr::from(source),
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Startup),
        Just(Event::Shutdown),
        any_advert().prop_map(Event::Advert),
        Just(Event::Timer),
        any_priority().prop_map(Event::PriorityChanged),
        any_time().prop_map(|until| Event::PermitGranted { until }),
        Just(Event::PermitLost),
        Just(Event::InterfaceUp),
        Just(Event::InterfaceDown),
        Just(Event::ForeignClaim),
    ]
}

fn any_config() -> impl Strategy<Value = Config> {
    (any::<[bool; 3]>(), any_priority(), any_interval(), any_time(), prop::option::of(any_time()))
        .prop_map(|([v2, preempt, permit_required], priority, interval, delay, refresh)| Config {
            version: if v2 { Version::V2 } else { Version::V3 },
            priority,
            interval,
            primary: IpAddr::from([10, 0, 0, 2]),
            preempt,
            preempt_delay: delay,
            permit_required,
            refresh,
        })
}

proptest! {
    #[test]
    fn addresses_alternate_whatever_happens_whenever(
        config in any_config(),
        events in prop::collection::vec((any_time(), any_event()), 0..200),
    ) {
        let mut election = Election::new(config);
        let mut has_addresses = false;
        for (now, event) in events {
            let actions = election.step(now, event);
            for action in &actions {
                match action {
                    Action::AddAddresses => {
                        prop_assert!(!has_addresses);
                        has_addresses = true;
                    }
                    Action::Release => {
                        prop_assert!(has_addresses);
                        has_addresses = false;
                    }
                    Action::SendAdvert { .. } | Action::SetTimer { .. } | Action::CancelTimer => {}
                    Action::SendPriorityZero => prop_assert!(!has_addresses),
                    Action::Announce => prop_assert!(has_addresses),
                }
            }
            prop_assert_eq!(has_addresses, election.state() == State::Active);
            let sets = |action: &&Action| matches!(action, Action::SetTimer { .. });
            let timers = actions.iter().filter(sets).count();
            prop_assert!(timers <= 1, "one timer, set at most once in a step");
        }
    }

    #[test]
    fn announcements_keep_their_gap_while_the_clock_goes_forward(
        config in any_config(),
        events in prop::collection::vec((0..1000_u64, any_event()), 0..200),
    ) {
        let mut election = Election::new(config);
        let (mut now, mut announced) = (Duration::ZERO, None);
        for (pause, event) in events {
            now += Duration::from_millis(pause);
            for action in election.step(now, event) {
                match action {
                    // Another takeover is another beginning.
                    Action::AddAddresses => announced = None,
                    Action::Announce => {
                        let before: Option<Duration> = announced.replace(now);
                        prop_assert!(before.is_none_or(|at| now >= at + ANNOUNCE_GAP));
                    }
                    _ => {}
                }
            }
        }
    }
}
