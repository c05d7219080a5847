//! Being Backup: waiting for the Active's silence.

use std::time::Duration;

use super::words::{Config, Heard};
use crate::Priority;
use crate::interval::Interval;

/// Which silence a backup is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Three intervals and the skew: the Active may have lost adverts.
    Down,
    /// The skew alone: the Active resigned, and only the better backups go first.
    Skew,
}

/// What a backup remembers of the Active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backup {
    heard_at: Duration,
    silence: Silence,
    /// `Active_Adver_Interval`: the interval of the Active, learned from its adverts.
    active_interval: Interval,
    /// Since when the Active is one that we could replace; starts the preempt delay.
    lesser_since: Option<Duration>,
}

impl Backup {
    /// A backup that starts to wait now, for an Active with this interval.
    pub(super) fn waiting(now: Duration, active_interval: Interval) -> Self {
        Self { heard_at: now, silence: Silence::Down, active_interval, lesser_since: None }
    }

    /// When the Active counts as gone, for a backup of this priority.
    ///
    /// Computed and not stored, so that a change of priority changes the wait as well.
    pub(super) fn down_at(&self, config: &Config, priority: Priority) -> Duration {
        let wait = match self.silence {
            Silence::Down => self.active_interval.down(config.version, priority),
            Silence::Skew => self.active_interval.skew(config.version, priority),
        };
        self.heard_at.saturating_add(wait)
    }

    /// Takes an advert into account. A backup never answers one.
    pub(super) fn hear(&mut self, now: Duration, heard: &Heard, config: &Config, ours: Priority) {
        let Some(theirs) = Priority::new(heard.priority) else {
            self.heard_at = now;
            self.silence = Silence::Skew;
            return;
        };
        if theirs >= ours {
            self.lesser_since = None;
        } else if self.ignores_lesser(now, config, ours) {
            return;
        }
        let lesser_since = self.lesser_since;
        *self = Self { lesser_since, ..Self::waiting(now, heard.interval) };
    }

    /// Whether a lesser Active's adverts no longer hold us back.
    fn ignores_lesser(&mut self, now: Duration, config: &Config, ours: Priority) -> bool {
        if ours.is_owner() {
            return true;
        }
        let since = *self.lesser_since.get_or_insert(now);
        config.preempt && now >= since.saturating_add(config.preempt_delay)
    }
}
