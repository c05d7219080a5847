//! What clients did and what they were told: one line of JSON per operation.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A time on the tester's clock, or a span of it, in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// The span from `earlier` to here; none if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl From<Duration> for Micros {
    fn from(span: Duration) -> Self {
        Self(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Micros> for Duration {
    fn from(span: Micros) -> Self {
        Self::from_micros(span.0)
    }
}

impl fmt::Display for Micros {
    /// In milliseconds up to ten seconds, then in seconds.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1000;
        if millis < 10_000 {
            write!(out, "{millis} ms")
        } else {
            write!(out, "{}.{} s", millis / 1000, millis % 1000 / 100)
        }
    }
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whether anybody answers at an address. Changes nothing.
    Ping,
    /// One more row, whose value nobody else uses.
    Append,
    /// All rows.
    Read,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was acknowledged.
    Ok,
    /// It certainly didn't happen, and never will.
    Fail,
    /// Nobody knows. A timeout is always this.
    Info,
}

/// A row as it was read: who appended it, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row(pub u32, pub u64);

/// One operation of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Who asked. A process does one thing at a time.
    pub process: u32,
    /// What was asked.
    pub kind: Kind,
    /// What was appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// When the client began.
    pub invoked: Micros,
    /// When it was answered, or gave up.
    pub completed: Micros,
    /// How it ended.
    pub outcome: Outcome,
    /// The node that answered, if that can be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// PostgreSQL's timeline on which it was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// The epoch of the node's authority, where a service tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What a read found, in the order in which it was appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Row>>,
    /// Why it failed or is unknown, or a warning that came with the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Operation {
    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

/// A history that can't be read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file or stream broke.
    #[error("the history can't be read: {0}")]
    Read(#[from] io::Error),
    /// A line is no operation. The last line of a client that was killed may be cut.
    #[error("line {line} of the history is no operation: {why}; was the client killed?")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: serde_json::Error,
    },
}

/// All operations of a run, in the order of their completion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl History {
    /// Reads lines of JSON; empty lines are passed over.
    pub fn read(source: impl BufRead) -> Result<Self, HistoryError> {
        let mut operations = Vec::new();
        for (index, line) in source.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let operation = serde_json::from_str(&line)
                .map_err(|why| HistoryError::Line { line: index + 1, why })?;
            operations.push(operation);
        }
        Ok(Self { operations })
    }

    /// Writes one line per operation.
    pub fn write(&self, mut target: impl Write) -> io::Result<()> {
        for operation in &self.operations {
            serde_json::to_writer(&mut target, operation)?;
            target.write_all(b"\n")?;
        }
        target.flush()
    }

    /// The operations of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Operation> {
        self.operations.iter().filter(move |operation| operation.kind == kind)
    }

    /// The acknowledged operations of a kind.
    pub fn acknowledged(&self, kind: Kind) -> impl Iterator<Item = &Operation> {
        self.of(kind).filter(|operation| operation.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let history = History {
            operations: vec![Operation {
                process: 3,
                kind: Kind::Append,
                value: Some(17),
                invoked: Micros(1000),
                completed: Micros(2500),
                outcome: Outcome::Info,
                node: Some("node1".to_owned()),
                timeline: Some(2),
                epoch: None,
                rows: None,
                note: "no answer within 2 s".to_owned(),
            }],
        };
        let mut text = Vec::new();
        history.write(&mut text).unwrap();
        let line = r#"{"process":3,"kind":"append","value":17,"invoked":1000,"completed":2500,"outcome":"info","node":"node1","timeline":2,"note":"no answer within 2 s"}"#;
        assert_eq!(String::from_utf8_lossy(&text), format!("{line}\n"));
        assert_eq!(History::read(&text[..]).unwrap(), history);
    }

    #[test]
    fn a_line_that_was_cut_is_named() {
        let text = b"\n{\"process\":1,\"kind\":\"pi";
        let error = History::read(&text[..]).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of the history"), "{error}");
    }
}
