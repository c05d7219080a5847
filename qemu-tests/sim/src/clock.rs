//! A machine's own time, which may run at another rate than the world's, stop, and jump.

use crate::plan::Micros;

/// A machine's boottime clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base_world: Micros,
    base_local: Micros,
    /// How many parts per million it runs too fast.
    pub(crate) ppm: i64,
}

impl Clock {
    pub(crate) fn new(world: Micros, local: Micros, ppm: i64) -> Self {
        Self { base_world: world, base_local: local, ppm }
    }

    pub(crate) fn local(&self, world: Micros) -> Micros {
        let passed = world.saturating_sub(self.base_world);
        self.base_local + skewed(passed, self.ppm)
    }

    pub(crate) fn world(&self, local: Micros) -> Micros {
        let ahead = local.saturating_sub(self.base_local);
        // The inverse, but for the square of the skew, which is added so as not to be early.
        let square = if self.ppm == 0 { 0 } else { ahead / 8000 };
        self.base_world + skewed(ahead, -self.ppm) + square
    }
}

/// A span that runs some parts per million too fast. Histories last minutes, so nothing overflows.
fn skewed(span: Micros, ppm: i64) -> Micros {
    if ppm == 0 {
        return span;
    }
    let extra = span / 1000 * ppm.unsigned_abs() / 1000;
    if ppm > 0 { span + extra } else { span.saturating_sub(extra) }
}
