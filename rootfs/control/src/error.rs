//! Why a line can't be understood.

use crate::answer::{Reason, Refusal};
use crate::{MAX_ANSWER_BYTES, MAX_LOG_LINES, MAX_REQUEST_BYTES, VERSION};

/// Longest quotation of a parser's complaint: it may quote what a stranger sent.
const MAX_COMPLAINT_CHARS: usize = 160;

/// A line that breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// No end of line within the bound.
    #[error("the request is longer than {MAX_REQUEST_BYTES} bytes: ask one thing per connection")]
    RequestTooLong,
    /// The answer would be longer than anyone reads.
    #[error("the answer is longer than {MAX_ANSWER_BYTES} bytes: ask for less")]
    AnswerTooLong,
    /// It is not the JSON that is expected.
    #[error("not understood: {why}; use a nodectl of the node's own version")]
    Malformed {
        /// What the parser says.
        why: String,
    },
    /// The other side speaks another version.
    #[error(
        "the request is in version {found} of the control words, this node speaks {VERSION}: use a \
         nodectl of the node's own version"
    )]
    Version {
        /// The version in the request.
        found: u16,
    },
    /// More bytes after the request.
    #[error("more than one request: connect anew for each")]
    MoreThanOne,
    /// Too much of a log at once.
    #[error("{asked} lines of log are too many: ask for {MAX_LOG_LINES} at most")]
    TooManyLines {
        /// How many were asked for.
        asked: u32,
    },
}

impl ProtocolError {
    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        let complaint = error.to_string();
        // What is quoted may hold control characters, and ends on terminals and in logs.
        let plain = complaint.chars().take(MAX_COMPLAINT_CHARS);
        Self::Malformed { why: plain.map(|c| if c.is_control() { '?' } else { c }).collect() }
    }

    /// What to answer.
    pub fn refusal(&self) -> Refusal {
        let reason = match self {
            Self::Version { .. } => Reason::Version,
            Self::AnswerTooLong | Self::TooManyLines { .. } | Self::RequestTooLong => {
                Reason::TooMuch
            }
            Self::Malformed { .. } | Self::MoreThanOne => Reason::Malformed,
        };
        Refusal { reason, message: self.to_string() }
    }
}
