//! Who owns a virtual address, by what the wire says: one at a time, and not another every second.

use serde::{Deserialize, Serialize};

use crate::history::Micros;
use crate::verdict::Finding;

/// A time in which a node announced an address: from its first advert to its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// The node.
    pub owner: String,
    /// Its first advert.
    pub from: Micros,
    /// Its last one.
    pub until: Micros,
}

/// Two nodes never announce the address at once for longer than one advert.
pub fn single_owner(reigns: &[Reign], advert: Micros) -> Finding {
    let check = "the address has one owner at a time";
    if reigns.is_empty() {
        return Finding::unknown(check, "nobody ever announced it");
    }
    let long = pairs(reigns).filter(|(_, _, both, _)| *both > advert);
    let violations = long
        .map(|(a, b, both, from)| (from, format!("{a} and {b} both for {both}, from {from} on")));
    let longest = longest_of_two(reigns);
    let seen = format!("{} reigns, at most {longest} of two at once", reigns.len());
    Finding::from_violations(check, violations.collect(), seen)
}

/// The longest time in which two nodes announced the address at once.
pub fn longest_of_two(reigns: &[Reign]) -> Micros {
    pairs(reigns).map(|(_, _, both, _)| both).max().unwrap_or_default()
}

/// Each two reigns of different owners: whose, for how long both, and from when on.
fn pairs(reigns: &[Reign]) -> impl Iterator<Item = (&str, &str, Micros, Micros)> {
    reigns.iter().enumerate().flat_map(move |(index, one)| {
        let others = reigns.iter().skip(index + 1).filter(|other| other.owner != one.owner);
        others.map(move |other| {
            let from = one.from.max(other.from);
            let both = one.until.min(other.until).since(from);
            (one.owner.as_str(), other.owner.as_str(), both, from)
        })
    })
}

/// How often the owner was another one than before. Somebody who claims the address beside a steady
/// owner takes it, and that one has it again when the other is gone.
pub fn changes(reigns: &[Reign]) -> usize {
    let mut reigns: Vec<&Reign> = reigns.iter().collect();
    reigns.sort_by_key(|reign| (reign.from, reign.until));
    let (mut changes, mut owner) = (0, None::<&Reign>);
    for reign in reigns {
        let Some(before) = owner else {
            owner = Some(reign);
            continue;
        };
        let is_other = before.owner != reign.owner;
        let ends_within = reign.until < before.until;
        changes += usize::from(is_other) + usize::from(is_other && ends_within);
        if !ends_within {
            owner = Some(reign);
        }
    }
    changes
}

/// The address changes its owner at most so many times.
pub fn owner_changes(reigns: &[Reign], most: usize) -> Finding {
    let check = "the address does not flap";
    if reigns.is_empty() {
        return Finding::unknown(check, "nobody ever announced it");
    }
    let count = changes(reigns);
    if count > most {
        return Finding::violated(check, format!("{count} changes of owner; allowed are {most}"));
    }
    Finding::pass(check, format!("{count} changes of owner; allowed are {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict::{Pass, Unknown, Violated};

    const ADVERT: Micros = Micros(100);

    fn reigns(reigns: &[(&str, u64, u64)]) -> Vec<Reign> {
        let reign = |(owner, from, until): &(&str, u64, u64)| Reign {
            owner: (*owner).to_owned(),
            from: Micros(*from),
            until: Micros(*until),
        };
        reigns.iter().map(reign).collect()
    }

    #[test]
    fn a_takeover_passes() {
        let takeover = reigns(&[("a", 0, 1000), ("b", 1300, 2000)]);
        assert_eq!(single_owner(&takeover, ADVERT).verdict, Pass);
        assert_eq!(owner_changes(&takeover, 1).verdict, Pass);
        let brief = reigns(&[("a", 0, 1000), ("b", 900, 2000)]);
        assert_eq!(single_owner(&brief, ADVERT).verdict, Pass, "within one advert");
        let again = reigns(&[("a", 0, 1000), ("a", 900, 2000)]);
        assert_eq!(single_owner(&again, ADVERT).verdict, Pass, "one owner, twice");
    }

    #[test]
    fn two_owners_at_once_are_found() {
        let split = reigns(&[("a", 0, 1000), ("b", 899, 2000)]);
        let finding = single_owner(&split, ADVERT);
        assert_eq!((finding.verdict, finding.at), (Violated, Some(Micros(899))));
    }

    #[test]
    fn flapping_is_counted() {
        let flaps = reigns(&[("a", 0, 1), ("b", 2, 3), ("b", 4, 5), ("a", 6, 7)]);
        assert_eq!(owner_changes(&flaps, 2).verdict, Pass);
        assert_eq!(owner_changes(&flaps, 1).verdict, Violated);
    }

    #[test]
    fn claims_beside_a_steady_owner_are_changes_too() {
        let beside = [("a", 0, 100), ("b", 10, 12), ("b", 40, 42), ("b", 70, 72)];
        assert_eq!(changes(&reigns(&beside)), 6);
        assert_eq!(changes(&reigns(&[("a", 0, 100), ("b", 99, 200)])), 1, "a takeover");
        assert_eq!(changes(&reigns(&[("a", 0, 100), ("a", 10, 12)])), 0, "one owner, twice");
    }

    #[test]
    fn an_address_without_owner_is_unknown() {
        assert_eq!(single_owner(&[], ADVERT).verdict, Unknown);
        assert_eq!(owner_changes(&[], 9).verdict, Unknown);
    }
}
