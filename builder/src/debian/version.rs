//! Debian versions: `[epoch:]upstream[-revision]`, ordered as dpkg orders them.
//!
//! The order is not that of the text: digits compare as numbers, letters sort before everything
//! else, and `~` sorts before even the end, so that `1.0~rc1` comes before `1.0`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A version; two spellings that dpkg holds equal (`1.0` and `1.00`) are equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// Why a text is no version.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VersionError {
    #[error("a version is empty")]
    Empty,
    #[error("the version {0:?} has a character that Debian doesn't allow")]
    BadCharacter(String),
    #[error("the version {0:?} has an epoch that is no number")]
    BadEpoch(String),
}

impl Version {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (u32, &str, &str) {
        let (epoch, rest) = match self.0.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, self.0.as_str()),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let rest = match text.split_once(':') {
            Some((epoch, rest)) => {
                let number = epoch.bytes().all(|byte| byte.is_ascii_digit());
                if !number || epoch.parse::<u32>().is_err() {
                    return Err(VersionError::BadEpoch(text.to_owned()));
                }
                rest
            }
            None => text,
        };
        if rest.is_empty() || rest.starts_with('-') {
            return Err(VersionError::Empty);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte);
        if !rest.bytes().all(allowed) {
            return Err(VersionError::BadCharacter(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (epoch, upstream, revision) = self.parts();
        let (other_epoch, other_upstream, other_revision) = other.parts();
        epoch
            .cmp(&other_epoch)
            .then_with(|| compare_part(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare_part(revision.as_bytes(), other_revision.as_bytes()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Alternates between a run of non-digits, compared by [`weight`], and a number.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        loop {
            let (a, b) = (weight(left.first()), weight(right.first()));
            match a.cmp(&b) {
                Ordering::Equal if a == 0 => break,
                Ordering::Equal => (left, right) = (&left[1..], &right[1..]),
                unequal => return unequal,
            }
        }
        let (a, b) = (take_number(&mut left), take_number(&mut right));
        let order = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Digits and the end weigh nothing, `~` less than that, letters come before other characters.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(digit) if digit.is_ascii_digit() => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

/// Takes the digits at the front, without leading zeroes: then length decides before content.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    let zeroes = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeroes..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn known_pairs_are_ordered_as_dpkg_orders_them() {
        let ascending = [
            "0~~",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0a",
            "1.0+x",
            "1.2",
            "1.10",
            "17.5-1+deb13u1",
            "17.11-0+deb13u1",
            "1:0.1",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        assert_eq!(version("1.0"), version("1.00"));
        assert_eq!(version("1.0"), version("0:1.0-0"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", ":", "1:", "x:1", "99999999999:1", "1_2", "1 2", "-1", "1.0é"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(
            a in "([0-3]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a~+]{1,3})?",
            b in "([0-3]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a~+]{1,3})?",
            c in "([0-3]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a~+]{1,3})?",
        ) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            prop_assert!(a.cmp(&a).is_eq());
        }

        #[test]
        fn any_text_is_judged_without_panic(a in "\\PC{0,12}", b in "[0-9a-z:~.+-]{0,12}") {
            if let (Ok(a), Ok(b)) = (a.parse::<Version>(), b.parse::<Version>()) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            }
        }
    }
}
