//! Measurements side by side with a peer: same machine, same QEMU, same run, in turns.

pub mod boot;
pub mod compare;
pub mod plot;
pub mod samples;

use std::time::Duration;

/// The figures of several runs.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    values: Vec<f64>,
}

impl Sample {
    pub fn add(&mut self, value: f64) {
        self.values.push(value);
        self.values.sort_by(f64::total_cmp);
    }

    pub fn add_seconds(&mut self, value: Duration) {
        self.add(value.as_secs_f64());
    }

    pub fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        values.into_iter().for_each(|value| self.add(value));
    }

    /// From the smallest to the largest.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The smallest value that so many of a hundred don't exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        let place = (self.values.len() * percent).div_ceil(100).saturating_sub(1);
        self.values.get(place).copied().unwrap_or(f64::NAN)
    }

    pub fn smallest(&self) -> f64 {
        self.values.first().copied().unwrap_or(f64::NAN)
    }

    pub fn largest(&self) -> f64 {
        self.values.last().copied().unwrap_or(f64::NAN)
    }

    /// The one in the middle; of an even number the lower of the two.
    pub fn median(&self) -> f64 {
        let middle = self.values.len().saturating_sub(1) / 2;
        self.values.get(middle).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let mut sample = Sample::default();
        assert!(sample.median().is_nan());
        for value in [3.0, 1.0, 9.0] {
            sample.add(value);
        }
        assert!((sample.median() - 3.0).abs() < f64::EPSILON);
        assert!((sample.percentile(99) - 9.0).abs() < f64::EPSILON);
        assert!((sample.percentile(50) - 3.0).abs() < f64::EPSILON);
        assert!((sample.smallest() - 1.0).abs() < f64::EPSILON);
        assert!((sample.largest() - 9.0).abs() < f64::EPSILON);
    }
}
