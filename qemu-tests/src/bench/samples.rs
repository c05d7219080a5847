//! What a comparison saw, a line of JSON for each strike.
//!
//! Thirty faults of each class on each system take hours. With its samples on disk a comparison can be
//! ended after any strike and gone on with later, and whoever doubts a table can look at what it was
//! made of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use builder::unfinished::{UnfinishedError, write_whole};
use ledger::Verdict;
use report::run::Measure;
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum SamplesError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {source}; put the file away to begin anew", path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error(transparent)]
    Write(#[from] UnfinishedError),
    #[error(
        "{path} is of an earlier run: --samples {path} adds what is missing, another --report begins \
         anew",
        path = path.display()
    )]
    Earlier { path: PathBuf },
}

/// One strike, and what was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    pub system: String,
    pub class: String,
    /// By which method.
    #[serde(default = "first")]
    pub method: u32,
    pub seed: u64,
    /// The root hash of the image that ran.
    pub image: String,
    /// When it began, in seconds since 1970.
    pub started_unix: u64,
    pub verdict: Verdict,
    pub measures: Vec<Measure>,
}

/// Samples without a method are of the first.
fn first() -> u32 {
    1
}

/// The strikes so far, in a file.
#[derive(Debug)]
pub struct Samples {
    path: PathBuf,
    struck: Vec<Struck>,
}

impl Samples {
    /// Those in a file; none if there is no such file yet.
    pub fn open(path: &Path) -> Result<Self, SamplesError> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| SamplesError::Read { path: path.to_owned(), source })?,
        };
        let struck = (1..).zip(text.lines()).map(|(line, text)| {
            serde_json::from_str(text).map_err(|source| SamplesError::Line {
                path: path.to_owned(),
                line,
                source,
            })
        });
        Ok(Self { path: path.to_owned(), struck: struck.collect::<Result<_, _>>()? })
    }

    /// The same, for a run that doesn't want to add to an earlier one.
    pub fn begin(path: &Path) -> Result<Self, SamplesError> {
        let samples = Self::open(path)?;
        if samples.struck.is_empty() {
            return Ok(samples);
        }
        Err(SamplesError::Earlier { path: path.to_owned() })
    }

    pub fn all(&self) -> &[Struck] {
        &self.struck
    }

    /// Adds one, for good.
    pub fn add(&mut self, struck: Struck) -> Result<(), SamplesError> {
        self.struck.push(struck);
        let mut text = String::new();
        for struck in &self.struck {
            // A struct of strings and numbers can always be written.
            text.push_str(&serde_json::to_string(struck).unwrap_or_default());
            text.push('\n');
        }
        Ok(write_whole(&self.path, text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(seed: u64) -> Struck {
        Struck {
            system: "ours".to_owned(),
            class: "kill".to_owned(),
            method: 1,
            seed,
            image: "ab12".to_owned(),
            started_unix: 1,
            verdict: Verdict::Pass,
            measures: vec![Measure { name: "gap_ms".to_owned(), value: 7 }],
        }
    }

    #[test]
    fn strikes_are_found_again_and_only_added_to_on_purpose() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("samples.jsonl");
        let mut samples = Samples::begin(&path).expect("none yet");
        samples.add(struck(1)).expect("added");
        samples.add(struck(2)).expect("added");
        assert_eq!(Samples::open(&path).expect("read").all(), [struck(1), struck(2)]);
        let refused = Samples::begin(&path).expect_err("there are some").to_string();
        assert!(refused.contains("--samples"), "{refused}");
        let old = r#"{"system":"s","class":"c","seed":1,"image":"","started_unix":1,"verdict":"pass",
            "measures":[]}"#;
        fs::write(&path, old.replace('\n', "")).expect("written");
        assert_eq!(Samples::open(&path).expect("read").all()[0].method, 1);
        fs::write(&path, "{}\n").expect("written");
        let torn = Samples::open(&path).expect_err("no strike").to_string();
        assert!(torn.contains("samples.jsonl, line 1: missing field"), "{torn}");
    }
}
