//! What is answered.

use serde::{Deserialize, Serialize};

use crate::database::{BackupStatus, DatabaseStatus};
use crate::error::ProtocolError;
use crate::fact::FactText;
use crate::name::ServiceName;
use crate::status::{Status, VipStatus};
use crate::usage::Top;
use crate::{MAX_ANSWER_BYTES, MAX_LOG_TEXT_BYTES};

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To `status`.
    Status(Box<Status>),
    /// To `top`.
    Top(Top),
    /// To `get`.
    Fact(FactText),
    /// To `metrics`: Prometheus' text format.
    Metrics {
        /// The text.
        text: String,
    },
    /// To `pg status`.
    Database(Box<DatabaseStatus>),
    /// To `pg backup list`.
    Backups(Box<BackupStatus>),
    /// To `vip status`.
    Vips(Vec<VipStatus>),
    /// To `logs`, one for each line.
    Log(LogLine),
    /// To `logs`: so many lines were written over before they could be sent.
    Missed {
        /// How many.
        lines: u64,
    },
    /// To `logs`: that was all.
    End,
    /// To what changes something: it is under way, and `status` shows how it goes.
    Accepted,
    /// To anything: no.
    Refused(Refusal),
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number, counted over all services since boot; follow on from the next.
    pub seq: u64,
    /// When it was written: milliseconds since 1970 on the node's clock.
    pub unix_ms: u64,
    /// Who wrote it; none for the agent and the kernel.
    pub service: Option<ServiceName>,
    /// What it says, without its end.
    pub text: String,
}

impl LogLine {
    /// A line from what a service wrote, which can be any bytes of any length.
    pub fn new(seq: u64, unix_ms: u64, service: Option<ServiceName>, bytes: &[u8]) -> Self {
        let bounded = bytes.get(..MAX_LOG_TEXT_BYTES).unwrap_or(bytes);
        let mut text = String::from_utf8_lossy(bounded).into_owned();
        text.truncate(text.floor_char_boundary(MAX_LOG_TEXT_BYTES));
        Self { seq, unix_ms, service, text }
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For people, with the mend.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The request is not understood.
    Malformed,
    /// The request is in another version.
    Version,
    /// The request or its answer exceeds a bound.
    TooMuch,
    /// Who asks may not.
    Forbidden,
    /// The image or this node has no such service.
    UnknownService,
    /// Not in this phase: the node boots, waits for a seed, or goes down.
    NotNow,
    /// Too many ask at once.
    Busy,
    /// It isn't safe as things stand, or makes no sense on this node.
    Unsafe,
    /// It was tried and failed.
    Failed,
}

impl Answer {
    /// A refusal.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refused(Refusal { reason, message: message.into() })
    }

    /// The answer as a line with its end. One that is too long becomes a refusal that says so.
    pub fn to_line(&self) -> Vec<u8> {
        let written = serde_json::to_vec(self).map_err(|error| ProtocolError::malformed(&error));
        let bounded = written.and_then(|line| {
            if line.len() <= MAX_ANSWER_BYTES {
                Ok(line)
            } else {
                Err(ProtocolError::AnswerTooLong)
            }
        });
        let mut line = bounded.unwrap_or_else(|error| {
            // A refusal is a short text and an enum, which can always be written.
            serde_json::to_vec(&Self::Refused(error.refusal())).unwrap_or_default()
        });
        line.push(b'\n');
        line
    }

    /// Reads a line, with or without its end.
    pub fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        if line.len() > MAX_ANSWER_BYTES + 1 {
            return Err(ProtocolError::AnswerTooLong);
        }
        serde_json::from_slice(line).map_err(|error| ProtocolError::malformed(&error))
    }

    /// Whether nothing can follow it.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Log(_) | Self::Missed { .. })
    }
}
