//! dpkg itself says whether versions are ordered rightly, where there is a dpkg.

use std::cmp::Ordering;
use std::process::Command;

use builder::debian::version::Version;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Each pair starts two processes at most, of some milliseconds.
const PAIRS: usize = 150;

fn dpkg_says(left: &str, relation: &str, right: &str) -> bool {
    let status = Command::new("dpkg").args(["--compare-versions", left, relation, right]).status();
    status.expect("it ran before").success()
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    if let Err(error) = Command::new("dpkg").arg("--version").output() {
        return println!("skipped: dpkg can't be run: {error}");
    }
    let part = "([0-2]:)?[0-9](0|1|9|a|b|~|\\+|\\.|-){0,5}";
    let pairs = (part, part).prop_filter("dpkg takes no empty revision", |(left, right)| {
        !left.ends_with('-') && !right.ends_with('-')
    });
    let mut runner = TestRunner::deterministic();
    for _ in 0..PAIRS {
        let (left, right) = pairs.new_tree(&mut runner).expect("a pair").current();
        let order = left.parse::<Version>().expect("ours").cmp(&right.parse().expect("ours"));
        let relation = match order {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        assert!(dpkg_says(&left, relation, &right), "{left} is not {relation} {right}");
    }
}
