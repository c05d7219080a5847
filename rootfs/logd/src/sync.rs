//! When what was written must reach the disk. Pure: times come in.

use std::time::Duration;

use crate::{SYNC_AT_MOST_EVERY, SYNC_EVERY};

/// What waits for the disk, and since when.
#[derive(Clone, Debug, Default)]
pub struct SyncPlan {
    /// The first unsynced line, and whether one of them warns.
    waiting: Option<(Duration, bool)>,
    last: Option<Duration>,
}

impl SyncPlan {
    /// A line was written; a warning is in a hurry.
    pub fn wrote(&mut self, now: Duration, warns: bool) {
        let (since, hurry) = self.waiting.unwrap_or((now, false));
        self.waiting = Some((since, hurry || warns));
    }

    /// When to sync.
    pub fn deadline(&self) -> Option<Duration> {
        let (since, hurry) = self.waiting?;
        let at_most = self.last.map_or(since, |last| last.saturating_add(SYNC_AT_MOST_EVERY));
        Some(if hurry { at_most.max(since) } else { since.saturating_add(SYNC_EVERY) })
    }

    /// It was tried; what failed isn't tried again, since the kernel has let go of it.
    pub fn synced(&mut self, now: Duration) {
        self.waiting = None;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lines_wait_together_and_warnings_hurry_but_not_without_bound() {
        let mut plan = SyncPlan::default();
        assert_eq!(plan.deadline(), None);
        plan.wrote(SECOND, false);
        plan.wrote(SECOND * 3, false);
        assert_eq!(plan.deadline(), Some(SECOND * 6));
        plan.wrote(SECOND * 4, true);
        assert!(plan.deadline().is_some_and(|when| when <= SECOND * 4), "now");
        plan.synced(SECOND * 4);
        assert_eq!(plan.deadline(), None);
        plan.wrote(SECOND * 4, true);
        assert_eq!(plan.deadline(), Some(SECOND * 5));
    }
}
