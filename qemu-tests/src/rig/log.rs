//! What happened in a run, as it happens: for the person who watches, and for the report.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where lines go while a drill runs.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// A moment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Duration,
    pub text: String,
}

/// The moments of a run in their order. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    say: Arc<Say>,
    moments: Arc<Mutex<Vec<Moment>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Log").field("moments", &self.moments()).finish_non_exhaustive()
    }
}

impl Log {
    pub fn new(say: Say) -> Self {
        Self { say: Arc::new(say), moments: Arc::default() }
    }

    /// Notes a moment, and tells whoever watches.
    pub fn note(&self, at: Duration, text: impl Into<String>) {
        let text = text.into();
        (self.say)(&format!("{:8.3} s  {text}", at.as_secs_f64()));
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.push(Moment { at, text });
    }

    pub fn moments(&self) -> Vec<Moment> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
