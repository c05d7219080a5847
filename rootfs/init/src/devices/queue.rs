//! Devices that wait for a driver: pure, bounded, and patient with devices that flap.
//!
//! ```text
//!  event ─> note ─┬─ asked for within the last ten seconds ─> dropped
//!                 ├─ the queue is full, or events were lost ─> walk over all devices instead
//!                 └─ queued ─> take ─> one program loads drivers for the whole batch
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// One program start for a batch; a dock with everything plugged into it brings some thirty.
const QUEUE_MAX: usize = 64;
/// A cable with a loose contact makes its device come and go; its driver is there since the first
/// time. A driver that failed gets another chance when the device is plugged in again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is remembered of the last ten seconds; forgetting costs one needless program start.
const REMEMBERED_MAX: usize = 256;

/// What to load drivers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// These devices.
    These(Vec<String>),
    /// Whatever is there.
    All,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeSet<String>,
    all: bool,
    recent: BTreeMap<String, Instant>,
}

impl Queue {
    /// A device came and said what it is.
    pub(crate) fn note(&mut self, modalias: &str, now: Instant) {
        self.recent.retain(|_, since| now.saturating_duration_since(*since) < PATIENCE);
        if self.all || self.recent.contains_key(modalias) {
            return;
        }
        if self.waiting.len() >= QUEUE_MAX {
            self.note_loss();
            return;
        }
        if self.recent.len() < REMEMBERED_MAX {
            self.recent.insert(modalias.to_owned(), now);
        }
        self.waiting.insert(modalias.to_owned());
    }

    /// Events were lost: nobody knows which devices came.
    pub(crate) fn note_loss(&mut self) {
        self.all = true;
        self.waiting.clear();
    }

    /// Takes everything that waits.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        if std::mem::take(&mut self.all) {
            self.waiting.clear();
            return Some(Batch::All);
        }
        let waiting = std::mem::take(&mut self.waiting);
        (!waiting.is_empty()).then(|| Batch::These(waiting.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_has_each_device_once_and_flapping_is_waited_out() {
        let start = Instant::now();
        let mut queue = Queue::default();
        assert_eq!(queue.take(), None);
        for alias in ["usb:b", "usb:a", "usb:b"] {
            queue.note(alias, start);
        }
        let batch = Batch::These(vec!["usb:a".to_owned(), "usb:b".to_owned()]);
        assert_eq!(queue.take(), Some(batch));
        queue.note("usb:a", start + PATIENCE / 2);
        assert_eq!(queue.take(), None, "too soon");
        queue.note("usb:a", start + PATIENCE);
        assert!(queue.take().is_some());
    }

    #[test]
    fn too_many_and_lost_ones_lead_to_a_walk_over_all() {
        let now = Instant::now();
        let mut queue = Queue::default();
        (0..=QUEUE_MAX).for_each(|number| queue.note(&format!("x:{number}"), now));
        assert_eq!(queue.take(), Some(Batch::All));
        assert_eq!(queue.take(), None);
        queue.note("y:1", now);
        queue.note_loss();
        queue.note("y:2", now);
        assert_eq!(queue.take(), Some(Batch::All));
        assert_eq!(queue.take(), None);
    }

    proptest! {
        #[test]
        fn no_device_is_forgotten_and_no_bound_is_passed(
            events in proptest::collection::vec((0_u16..400, 0_u64..3000), 0..600),
        ) {
            let start = Instant::now();
            let mut queue = Queue::default();
            let mut passed = 0;
            let mut tried: BTreeMap<u16, u64> = BTreeMap::new();
            for (number, pause) in events {
                passed += pause;
                queue.note(&format!("x:{number}"), start + Duration::from_millis(passed));
                prop_assert!(queue.waiting.len() <= QUEUE_MAX);
                prop_assert!(queue.recent.len() <= REMEMBERED_MAX);
                let wanted = queue.all || queue.waiting.contains(&format!("x:{number}"));
                let lately = tried.get(&number).is_some_and(|at| passed - at < 10_000);
                prop_assert!(wanted || lately, "dropped although nobody tried it");
                if wanted {
                    tried.insert(number, passed);
                }
                if pause > 2000 {
                    queue.take();
                }
            }
        }
    }
}
