//! Which servers to believe: those of a majority whose claims can all be true at once.
//!
//! ```text
//!  server 1   ├─────────┼─────────┤
//!  server 2        ├────┼────┤                       each claims: true time is within my interval
//!  server 3             ├──────┼──────┤
//!  server 4                                  ├──┼──┤     a falseticker, however sure of itself
//!  truth                ├────┤
//! ```

use super::register::{Estimate, Slope};
use super::stamp::{Nanos, to_float, to_nanos};

/// What the majority says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Consensus {
    pub(crate) apart: Nanos,
    pub(crate) error: Nanos,
    pub(crate) slope: Option<Slope>,
    /// Places of those who agree.
    pub(crate) members: Vec<usize>,
}

/// The consensus of a majority of these; none if no majority agrees. Two who contradict each other
/// are no majority, since nobody can tell which is right.
pub(crate) fn select(claims: &[(usize, Estimate)]) -> Option<Consensus> {
    let low = |claim: &Estimate| claim.apart.saturating_sub(claim.error);
    let high = |claim: &Estimate| claim.apart.saturating_add(claim.error);
    // Where most intervals overlap, one of them begins.
    let holders = |point: Nanos| {
        claims.iter().filter(move |(_, claim)| low(claim) <= point && point <= high(claim))
    };
    let points = claims.iter().map(|(_, claim)| low(claim));
    // Of several such places the one where the surest meet is the best.
    let best = points.max_by_key(|point| {
        let narrowest = holders(*point).map(|(_, claim)| claim.error).min().unwrap_or(Nanos::MAX);
        (holders(*point).count(), std::cmp::Reverse(narrowest))
    })?;
    let agreeing: Vec<&(usize, Estimate)> = holders(best).collect();
    if agreeing.len() * 2 <= claims.len() {
        return None;
    }
    // The surer a claim, the more it weighs. Distances from the first keep the numbers small.
    let (_, first) = agreeing.first()?;
    let weight = |claim: &Estimate| 1.0 / to_float(claim.error.max(1));
    let total: f64 = agreeing.iter().map(|(_, claim)| weight(claim)).sum();
    let mean: f64 = agreeing
        .iter()
        .map(|(_, claim)| weight(claim) * to_float(claim.apart.saturating_sub(first.apart)))
        .sum();
    let slopes = agreeing.iter().filter_map(|(_, claim)| claim.slope);
    Some(Consensus {
        apart: first.apart.saturating_add(to_nanos(mean / total)),
        error: agreeing.iter().map(|(_, claim)| claim.error).min()?,
        slope: slopes.min_by(|one, other| one.error.total_cmp(&other.error)),
        members: agreeing.iter().map(|(place, _)| *place).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims(claims: &[(Nanos, Nanos)]) -> Vec<(usize, Estimate)> {
        let estimate = |(apart, error)| Estimate { apart, error, slope: None };
        claims.iter().map(|claim| estimate(*claim)).enumerate().collect()
    }

    fn members(of: &[(Nanos, Nanos)]) -> Option<Vec<usize>> {
        select(&claims(of)).map(|consensus| consensus.members)
    }

    #[test]
    fn a_majority_is_believed_and_a_falseticker_is_not() {
        assert_eq!(members(&[(100, 50), (110, 20), (140, 40), (900, 1)]), Some(vec![0, 1, 2]));
        assert_eq!(members(&[(0, 10), (5, 10), (1000, 5)]), Some(vec![0, 1]));
    }

    #[test]
    fn without_a_majority_nobody_is_believed() {
        assert_eq!(members(&[]), None);
        assert_eq!(members(&[(0, 10), (1000, 10)]), None);
        assert_eq!(members(&[(0, 1), (0, 1), (99, 1), (99, 1)]), None);
        assert_eq!(members(&[(0, 10)]), Some(vec![0]));
    }

    #[test]
    fn the_surer_claim_weighs_more() {
        let consensus = select(&claims(&[(0, 1000), (100, 10)])).expect("they agree");
        assert!((90..=100).contains(&consensus.apart), "{consensus:?}");
        assert_eq!(consensus.error, 10);
    }

    proptest! {
        #[test]
        fn liars_in_the_minority_never_win(
            truth in -1_000_000..1_000_000_i64,
            honest in prop::collection::vec((-1000..1000_i64, 0..500_i64), 3..6),
            liars in prop::collection::vec((-10_000_000..10_000_000_i64, 0..100_000_i64), 0..3),
        ) {
            // Whoever is honest has the truth within its interval.
            let honest = honest.iter().map(|(off, more)| (truth + off, off.abs() + more));
            let widest = honest.clone().map(|(_, error)| error).max().expect("some");
            let count = honest.len();
            let all: Vec<(Nanos, Nanos)> = honest.chain(liars).collect();
            let consensus = select(&claims(&all)).expect("the honest are a majority");
            prop_assert!(consensus.members.len() >= count);
            // A liar who agrees with all of the honest can pull by no more than its own interval,
            // which overlaps theirs.
            let pull = all.iter().enumerate().filter(|(place, _)| consensus.members.contains(place))
                .map(|(_, (_, error))| *error).max().unwrap_or(0).max(widest);
            prop_assert!((consensus.apart - truth).abs() <= 2 * pull);
        }

        #[test]
        fn no_claims_panic(all in prop::collection::vec(any::<(i64, u32)>(), 0..6)) {
            let all: Vec<_> = all.iter().map(|(apart, error)| (*apart, i64::from(*error))).collect();
            select(&claims(&all));
        }
    }
}
