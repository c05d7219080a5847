//! Whether the hardware watchdog may be fed.
//!
//! The watchdog is the last fence: it resets a machine that does something while it can't be told
//! to stop. So the question is not "is all well?" but "is anything alive that doesn't listen?":
//!
//! - the supervision loop must have stepped lately;
//! - a service that declares `watchdog` must die when it is killed: one that hangs in the kernel may
//!   still hold a socket open for clients.
//!
//! A ready service that declares `watchdog` and doesn't say "alive" within its interval is killed,
//! with all that is in its cgroup: that is sooner over than a reset, and takes nothing else along.
//! One that is down, pausing or on its way up harms nobody: its states have deadlines.

use std::time::Duration;

use crate::service::Supervised;
use crate::state::State;
use crate::supervisor::Supervisor;

/// How long the loop may go without a step. It wakes at least every second to feed the device; the
/// rest is for a machine that is busy beyond measure, yet less than the usual device timeouts.
pub const LOOP_SILENCE: Duration = Duration::from_secs(5);

/// How long a killed process may take to vanish: three kills. A disk that stalls and recovers takes
/// less; what takes longer is not coming back.
pub const UNKILLABLE_AFTER: Duration = Duration::from_secs(15);

impl Supervisor {
    /// Whether the watchdog may be fed at a time.
    pub fn may_feed_watchdog(&self, now: Duration) -> bool {
        now.saturating_sub(self.now) <= LOOP_SILENCE && self.stale(now).next().is_none()
    }

    /// The services because of which it may not be fed.
    pub fn stale(&self, now: Duration) -> impl Iterator<Item = &str> {
        let stale = move |service: &&Supervised| !is_fresh(service, now);
        self.services.iter().filter(stale).map(|supervised| supervised.service.name.as_str())
    }
}

fn is_fresh(supervised: &Supervised, now: Duration) -> bool {
    supervised.service.watchdog.is_none()
        || supervised.state != State::Killing
        || now.saturating_sub(supervised.since) <= UNKILLABLE_AFTER
}
