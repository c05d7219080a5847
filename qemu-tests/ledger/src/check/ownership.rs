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
    let mut violations = Vec::new();
    let mut longest = Micros::default();
    for (index, one) in reigns.iter().enumerate() {
        for other in reigns.iter().skip(index + 1).filter(|other| other.owner != one.owner) {
            let from = one.from.max(other.from);
            let both = one.until.min(other.until).since(from);
            longest = longest.max(both);
            if both > advert {
                let (a, b) = (&one.owner, &other.owner);
                violations.push((from, format!("{a} and {b} both for {both}, from {from} on")));
            }
        }
    }
    let seen = format!("{} reigns, at most {longest} of two at once", reigns.len());
    Finding::from_violations(check, violations, seen)
}

/// How often the owner was another one than before.
pub fn changes(reigns: &[Reign]) -> usize {
    let mut reigns: Vec<&Reign> = reigns.iter().collect();
    reigns.sort_by_key(|reign| reign.from);
    reigns.windows(2).filter(|pair| pair[0].owner != pair[1].owner).count()
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
    fn an_address_without_owner_is_unknown() {
        assert_eq!(single_owner(&[], ADVERT).verdict, Unknown);
        assert_eq!(owner_changes(&[], 9).verdict, Unknown);
    }
}
