//! When the next base backup is due, and which go for it. Pure.

/// After a failure the next attempt waits this long: the reason is rarely gone at once, and each
/// attempt reads the whole database.
const AFTER_FAILURE_SECONDS: u64 = 600;

/// After a change of leaders the archive may have a gap that only a new base backup closes. A pair
/// that changes often shall not do nothing else, so there is this much between two of them.
const AFTER_CHANGE_SECONDS: u64 = 3600;

/// In seconds since 1970: from the newest backup in the repository, whoever made it, so that a
/// restart makes none that isn't needed; sooner if it is another leader's (`parted`). A clock that was
/// set back makes the next one later by that much at most.
pub(super) fn due(
    now: u64,
    newest: Option<u64>,
    every: u64,
    parted: bool,
    failed_at: Option<u64>,
) -> u64 {
    let every = if parted { every.min(AFTER_CHANGE_SECONDS) } else { every };
    let by_schedule = newest.map_or(now, |newest| newest.min(now).saturating_add(every));
    // One from the future was before the clock was set back, and may be long ago.
    let by_failure = failed_at.filter(|at| *at <= now);
    let by_failure = by_failure.map_or(0, |at| at.saturating_add(AFTER_FAILURE_SECONDS));
    by_schedule.max(by_failure)
}

/// Which of the backups, oldest first, go before the oldest when there are too many: those that came
/// soon after another, as they do when the leader changes often. They cost hours that can be reached by
/// a restore, and the oldest costs days. By the schedule each comes a whole `every` after the one before,
/// so three quarters tell them apart. The newest always stays.
pub(super) fn crowded(finished: &[u64], keep: usize, every: u64) -> Vec<usize> {
    let mut left: Vec<(usize, u64)> = finished.iter().copied().enumerate().collect();
    let mut gone = Vec::new();
    while left.len() > keep {
        let after = left.windows(3).zip(1_usize..).filter_map(|(three, place)| match three {
            [(_, before), (_, this), _] => Some((this.saturating_sub(*before), place)),
            _ => None,
        });
        let soonest =
            after.min().filter(|(gap, _)| gap.saturating_mul(4) < every.saturating_mul(3));
        let Some((_, place)) = soonest else { break };
        gone.push(left.remove(place).0);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const NOW: u64 = 1_795_175_700;

    #[test]
    fn the_first_backup_is_due_at_once() {
        assert_eq!(due(NOW, None, DAY, false, None), NOW);
    }

    #[test]
    fn the_next_one_follows_the_newest() {
        assert_eq!(due(NOW, Some(NOW - 10), DAY, false, None), NOW - 10 + DAY);
        assert!(due(NOW, Some(NOW - 2 * DAY), DAY, false, None) < NOW);
        // From the future: someone's clock was wrong.
        assert_eq!(due(NOW, Some(NOW + 9 * DAY), DAY, false, None), NOW + DAY);
    }

    #[test]
    fn a_new_leader_begins_with_a_base_backup_and_not_more_than_one_an_hour() {
        assert!(due(NOW, Some(NOW - 2 * 3600), DAY, true, None) < NOW);
        assert_eq!(due(NOW, Some(NOW - 10), DAY, true, None), NOW - 10 + 3600);
        assert_eq!(due(NOW, Some(NOW - 10), 60, true, None), NOW - 10 + 60);
        assert_eq!(due(NOW, None, DAY, true, Some(NOW)), NOW + AFTER_FAILURE_SECONDS);
    }

    #[test]
    fn backups_that_came_soon_after_another_go_before_the_oldest() {
        const HOUR: u64 = 3600;
        assert_eq!(crowded(&[0, DAY, 2 * DAY, 3 * DAY], 3, DAY), [0_usize; 0], "the oldest goes");
        assert_eq!(crowded(&[0, DAY, DAY + HOUR, 2 * DAY], 3, DAY), [2]);
        assert_eq!(crowded(&[0, DAY, DAY + HOUR], 3, DAY), [0_usize; 0], "not too many");
        assert_eq!(crowded(&[0, HOUR, 2 * HOUR, 3 * HOUR], 2, DAY), [1, 2]);
        assert_eq!(crowded(&[0, HOUR], 1, DAY), [0_usize; 0], "the newest stays");
        assert_eq!(crowded(&[], 1, DAY), [0_usize; 0]);
    }

    #[test]
    fn a_leader_that_changes_each_hour_takes_no_more_than_half_of_the_reach() {
        let (keep, mut left) = (7, (0..7).map(|day| day * DAY).collect::<Vec<_>>());
        for hour in 1..=14 * 24 {
            let now = 6 * DAY + hour * 3600;
            left.push(now);
            for place in crowded(&left, keep, DAY) {
                left.remove(place);
            }
            left.drain(..left.len().saturating_sub(keep));
            assert!(now - left[0] >= 3 * DAY, "after {hour} h: {left:?}");
        }
    }

    #[test]
    fn a_failure_is_not_repeated_at_once() {
        assert_eq!(due(NOW, None, DAY, false, Some(NOW)), NOW + AFTER_FAILURE_SECONDS);
        assert_eq!(due(NOW, Some(NOW), DAY, false, Some(NOW)), NOW + DAY);
        assert_eq!(
            due(NOW, None, DAY, false, Some(NOW + DAY)),
            NOW,
            "the clock was set back since"
        );
    }
}
