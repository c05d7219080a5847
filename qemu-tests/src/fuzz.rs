//! Fuzzing of everything that parses, on a stable compiler.
//!
//! A target is a function over bytes that must neither panic nor hang. Inputs start from a corpus of
//! good and bad examples and are mutated: bits flipped, runs cut, doubled or spliced from another
//! example, numbers set to their limits. A run is a seed and a count, so a failure can be repeated;
//! `tests/fuzz.rs` makes a short run of each, and `FUZZ_ROUNDS` makes it as long as one likes.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// An input that takes longer is as bad as one that panics.
const HANG: Duration = Duration::from_secs(20);
/// Mutations that are piled onto one example, at most.
const MUTATIONS_MAX: u64 = 6;
/// Inputs don't grow beyond this, or doubling would eat the memory.
const INPUT_MAX_BYTES: usize = 1 << 20;

/// Numbers that parsers get wrong.
const LIMITS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

/// A parser under test.
pub struct Target {
    pub name: &'static str,
    pub corpus: Vec<Vec<u8>>,
    pub run: fn(&[u8]),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}, {} examples)", self.name, self.corpus.len())
    }
}

/// An input that broke its target.
#[derive(Debug)]
pub struct Broken {
    pub round: u64,
    pub input: Vec<u8>,
    pub how: String,
}

/// A small generator of random numbers that gives the same ones for the same seed everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number; the steps are those of `SplitMix64`.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be zero.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap_or(0)
    }
}

impl Target {
    /// Runs so many mutated inputs; stops at the first that breaks the target.
    pub fn fuzz(&self, seed: u64, rounds: u64) -> Result<(), Broken> {
        for example in &self.corpus {
            self.try_one(0, example.clone())?;
        }
        for round in 0..rounds {
            // Each round has numbers of its own, so that one can be repeated alone.
            let mut random = Random::new(seed.wrapping_add(round));
            self.try_one(round, self.mutated(&mut random))?;
        }
        Ok(())
    }

    fn try_one(&self, round: u64, input: Vec<u8>) -> Result<(), Broken> {
        let started = Instant::now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (self.run)(&input)));
        if let Err(panic) = outcome {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
            return Err(Broken { round, input, how: said.to_owned() });
        }
        if started.elapsed() > HANG {
            let how = format!("took {:.0} s", started.elapsed().as_secs_f64());
            return Err(Broken { round, input, how });
        }
        Ok(())
    }

    fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let mut input = self.pick(random).to_vec();
        for _ in 0..=random.number() % MUTATIONS_MAX {
            self.mutate(&mut input, random);
        }
        input.truncate(INPUT_MAX_BYTES);
        input
    }

    fn pick(&self, random: &mut Random) -> &[u8] {
        if self.corpus.is_empty() { &[] } else { &self.corpus[random.below(self.corpus.len())] }
    }

    fn mutate(&self, input: &mut Vec<u8>, random: &mut Random) {
        if input.is_empty() {
            input.push(u8::try_from(random.number() & 0xff).unwrap_or(0));
            return;
        }
        let at = random.below(input.len());
        let run = 1 + random.below((input.len() - at).min(64));
        match random.below(7) {
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = u8::try_from(random.number() & 0xff).unwrap_or(0),
            2 => drop(input.drain(at..at + run)),
            3 => {
                let copy = input[at..at + run].to_vec();
                input.splice(at..at, copy);
            }
            4 => input.truncate(at),
            5 => {
                let number = LIMITS[random.below(LIMITS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)].min(input.len() - at);
                input[at..at + width].copy_from_slice(&number[..width]);
            }
            _ => {
                let other = self.pick(random);
                if !other.is_empty() {
                    let from = random.below(other.len());
                    let length = 1 + random.below((other.len() - from).min(256));
                    input.splice(at..at, other[from..from + length].iter().copied());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_panic_is_found_and_can_be_repeated() {
        let target = Target {
            name: "planted",
            corpus: vec![b"harmless".to_vec()],
            run: |input| assert!(!input.contains(&0xff), "met it"),
        };
        let broken = target.fuzz(1, 10_000).expect_err("the panic is met");
        assert!(broken.input.contains(&0xff));
        let again = target.fuzz(1, 10_000).expect_err("again");
        assert_eq!(again.input, broken.input);
        assert_eq!(broken.how, "met it");
    }
}
