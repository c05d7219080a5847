//! The RFCs' arithmetic, in numbers that anybody can check with a pencil.

use std::time::Duration;

use vrrp::interval::IntervalError;
use vrrp::{Interval, Priority, Version};

fn centiseconds(centiseconds: u16) -> Interval {
    Interval::from_centiseconds(centiseconds).expect("fits")
}

fn priority(priority: u8) -> Priority {
    Priority::new(priority).expect("not zero")
}

#[test]
fn version_3_skews_by_a_share_of_the_interval() {
    let skews = [
        (100, 100, 609_375_000),
        (100, 254, 7_812_500),
        (100, 255, 3_906_250),
        (100, 1, 996_093_750),
        (1, 100, 6_093_750),
        (10, 200, 21_875_000),
        (4095, 1, 40_790_039_062),
    ];
    for (interval, ours, nanoseconds) in skews {
        let skew = centiseconds(interval).skew(Version::V3, priority(ours));
        assert_eq!(skew, Duration::from_nanos(nanoseconds), "{interval} cs, priority {ours}");
    }
}

#[test]
fn version_2_skews_by_a_share_of_a_second() {
    for seconds in [1, 3, 255] {
        let interval = Interval::from_seconds(seconds).expect("fits");
        let skew = interval.skew(Version::V2, Priority::DEFAULT);
        assert_eq!(skew, Duration::from_micros(609_375));
    }
}

#[test]
fn an_active_is_down_after_three_intervals_and_the_skew() {
    let down = |version, interval: Interval| interval.down(version, Priority::DEFAULT);
    let second = Interval::from_seconds(1).expect("fits");
    let three = Interval::from_seconds(3).expect("fits");
    assert_eq!(down(Version::V2, second), Duration::from_micros(3_609_375));
    assert_eq!(down(Version::V3, second), Duration::from_micros(3_609_375));
    assert_eq!(down(Version::V2, three), Duration::from_micros(9_609_375));
    assert_eq!(down(Version::V3, three), Duration::from_micros(10_828_125));
    assert_eq!(down(Version::V3, centiseconds(1)), Duration::from_nanos(36_093_750));
}

#[test]
fn no_two_priorities_have_the_same_skew_even_at_the_fastest_interval() {
    let skews = (1..=255).map(|ours| centiseconds(1).skew(Version::V3, priority(ours)));
    assert!(skews.collect::<Vec<_>>().windows(2).all(|pair| pair[0] > pair[1]));
}

#[test]
fn intervals_are_what_a_packet_can_say() {
    assert_eq!(Interval::from_centiseconds(0), Err(IntervalError::Centiseconds(0)));
    assert_eq!(Interval::from_centiseconds(4096), Err(IntervalError::Centiseconds(4096)));
    assert_eq!(Interval::from_seconds(0), Err(IntervalError::Seconds(0)));
    assert_eq!(Interval::from_seconds(256), Err(IntervalError::Seconds(256)));
    assert_eq!(centiseconds(4095).duration(), Duration::from_millis(40_950));
    assert_eq!(centiseconds(100).whole_seconds(), Some(1));
    assert_eq!(centiseconds(150).whole_seconds(), None);
}

#[test]
fn zero_is_no_priority() {
    assert_eq!(Priority::new(0), None);
    assert!(priority(255).is_owner());
    assert!(!priority(254).is_owner());
}
