//! The last answers of one server, and what they say about our oscillator and the true time.
//!
//! Samples are kept against the machine's raw clock, which nobody steps or slews. So what we do to
//! the wall clock never changes what an old sample means, and the slope of the samples is the
//! oscillator's error itself.

use std::collections::VecDeque;

use super::stamp::{Nanos, to_float, to_nanos};

/// How many answers are kept: RFC 5905's clock filter.
const SAMPLES: usize = 8;

/// No oscillator of a machine that works is further off. Samples that would need more contradict
/// each other: the raw clock stood still, or the server changed its mind.
const DRIFT_MAX: f64 = 500e-6;

/// How fast an oscillator wanders once its error is known (RFC 5905's PHI), and before.
const WANDER_KNOWN: f64 = 15e-6;
const WANDER_UNKNOWN: f64 = 100e-6;

/// What a time stamp of a program is off even on an idle network.
const NOISE: Nanos = 50_000;

/// A slope that is less certain is not used: it would do more harm than the drift.
const SLOPE_ERROR_MAX: f64 = 10e-6;

/// The fewest samples for a slope.
const SLOPE_SAMPLES: usize = 4;

/// What one answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The raw clock at the middle of question and answer.
    pub(crate) raw: Nanos,
    /// True time minus raw clock.
    pub(crate) apart: Nanos,
    /// The way there and back.
    pub(crate) delay: Nanos,
    /// How far the server itself may be off.
    pub(crate) root_distance: Nanos,
}

/// What a register says about a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// True time minus raw clock.
    pub(crate) apart: Nanos,
    /// How far that may be off.
    pub(crate) error: Nanos,
    pub(crate) slope: Option<Slope>,
}

/// How much faster true time runs than the raw clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    pub(crate) value: f64,
    pub(crate) error: f64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    samples: VecDeque<Sample>,
}

impl Register {
    /// Adds a sample, and forgets those that contradict it: they were taken before a jump.
    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.retain(|old| {
            let drift = to_nanos(to_float(sample.raw.saturating_sub(old.raw)).abs() * DRIFT_MAX);
            let errors = sample.delay / 2 + old.delay / 2 + 2 * NOISE;
            let roots = sample.root_distance.saturating_add(old.root_distance);
            let most = drift.saturating_add(errors).saturating_add(roots);
            sample.apart.saturating_sub(old.apart).saturating_abs() <= most
        });
        if self.samples.len() >= SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    pub(crate) fn clear(&mut self) {
        self.samples.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// What is true at this moment of the raw clock, by the best sample and the slope: that of the
    /// samples, or the one that is known already.
    pub(crate) fn estimate(&self, raw: Nanos, known: Option<f64>) -> Option<Estimate> {
        let slope = self.slope();
        let value = slope.map(|slope| slope.value).or(known);
        let wander = if value.is_some() { WANDER_KNOWN } else { WANDER_UNKNOWN };
        let age = |sample: &Sample| to_float(raw.saturating_sub(sample.raw)).abs();
        let error = |sample: &Sample| {
            let grown = to_nanos(age(sample) * wander);
            (sample.delay / 2).saturating_add(NOISE).saturating_add(grown)
        };
        let best = self.samples.iter().min_by_key(|sample| error(sample))?;
        let passed = to_float(raw.saturating_sub(best.raw));
        let drifted = to_nanos(passed * value.unwrap_or(0.0));
        Some(Estimate {
            apart: best.apart.saturating_add(drifted),
            error: error(best).saturating_add(best.root_distance),
            slope,
        })
    }

    /// The line through the samples; one that took longer on its way than the quickest weighs
    /// less, since the way there and the way back were less alike.
    fn slope(&self) -> Option<Slope> {
        let first = self.samples.front().filter(|_| self.samples.len() >= SLOPE_SAMPLES)?;
        let quickest = self.samples.iter().map(|sample| sample.delay).min()?;
        let points: Vec<(f64, f64, f64)> = self
            .samples
            .iter()
            .map(|sample| {
                let noise = to_float((sample.delay.saturating_sub(quickest)) / 2 + NOISE);
                let x = to_float(sample.raw.saturating_sub(first.raw));
                let y = to_float(sample.apart.saturating_sub(first.apart));
                (1.0 / (noise * noise), x, y)
            })
            .collect();
        let weight: f64 = points.iter().map(|(weight, _, _)| weight).sum();
        let mean_x = points.iter().map(|(weight, x, _)| weight * x).sum::<f64>() / weight;
        let mean_y = points.iter().map(|(weight, _, y)| weight * y).sum::<f64>() / weight;
        let square: f64 =
            points.iter().map(|(weight, x, _)| weight * (x - mean_x) * (x - mean_x)).sum();
        let product: f64 =
            points.iter().map(|(weight, x, y)| weight * (x - mean_x) * (y - mean_y)).sum();
        let slope = Slope { value: product / square, error: square.sqrt().recip() };
        let usable = slope.error <= SLOPE_ERROR_MAX && slope.value.abs() <= DRIFT_MAX;
        usable.then_some(slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn sample(raw: Nanos, apart: Nanos, delay: Nanos) -> Sample {
        Sample { raw, apart, delay, root_distance: 0 }
    }

    #[test]
    fn the_quickest_answer_counts() {
        let mut register = Register::default();
        register.push(sample(0, 900_000, 2_000_000));
        register.push(sample(SECOND, 5_000, 10_000));
        register.push(sample(2 * SECOND, 40_000_000, 90_000_000));
        let estimate = register.estimate(2 * SECOND, Some(0.0)).expect("samples");
        assert_eq!(estimate.apart, 5_000);
        assert_eq!(estimate.error, 5_000 + NOISE + 15_000);
    }

    #[test]
    fn an_old_sample_loses_its_worth() {
        let mut register = Register::default();
        register.push(sample(0, 0, 10_000));
        register.push(sample(2000 * SECOND, 7, 2_000_000));
        assert_eq!(register.estimate(2000 * SECOND, Some(0.0)).expect("samples").apart, 7);
    }

    #[test]
    fn the_slope_is_the_oscillators_error() {
        let mut register = Register::default();
        for round in 0..20 {
            // 40 millionths, and every third answer is slow on one way.
            let late = if round % 3 == 0 { 3_000_000 } else { 0 };
            register.push(sample(
                round * 64 * SECOND,
                round * 64 * 40_000 + late / 2,
                200_000 + late,
            ));
        }
        assert_eq!(register.len(), SAMPLES);
        let estimate = register.estimate(19 * 64 * SECOND, None).expect("samples");
        let slope = estimate.slope.expect("a slope");
        assert!((slope.value - 40e-6).abs() < 1e-6, "{slope:?}");
        assert!((estimate.apart - 19 * 64 * 40_000).abs() < 100_000);
    }

    #[test]
    fn samples_too_close_in_time_give_no_slope() {
        let mut register = Register::default();
        (0..4).for_each(|round| register.push(sample(round * SECOND, 0, 200_000)));
        assert_eq!(register.estimate(4 * SECOND, None).expect("samples").slope, None);
    }

    #[test]
    fn what_was_before_a_jump_is_forgotten() {
        let mut register = Register::default();
        (0..8).for_each(|round| register.push(sample(round * SECOND, 0, 200_000)));
        register.push(sample(9 * SECOND, 3 * SECOND, 200_000));
        assert_eq!(register.len(), 1);
        // A slow answer is no jump: its own delay explains the difference.
        register.push(sample(10 * SECOND, 4 * SECOND, 2 * SECOND));
        assert_eq!(register.len(), 2);
    }
}
