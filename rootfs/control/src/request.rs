//! What can be asked.

use serde::{Deserialize, Serialize};

use crate::database::PgRequest;
use crate::error::ProtocolError;
use crate::fact::Fact;
use crate::name::ServiceName;
use crate::{MAX_LOG_LINES, VERSION};

/// One request. Names on the wire are in kebab-case: `"status"`, `{"start":{"service":"nginx"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Everything about the node that fits a screen.
    Status,
    /// What services said.
    Logs(Logs),
    /// A service shall be up, and now.
    Start {
        /// Which.
        service: ServiceName,
    },
    /// A service shall be down until it is started again.
    Stop {
        /// Which.
        service: ServiceName,
    },
    /// A service shall go down and come up again.
    Restart {
        /// Which.
        service: ServiceName,
    },
    /// Stop everything in order, then boot anew.
    Reboot,
    /// Stop everything in order, then switch off.
    #[serde(rename = "poweroff")]
    PowerOff,
    /// What each service uses.
    Top,
    /// One fact of the fixed list.
    Get {
        /// Which.
        fact: Fact,
    },
    /// Status and usage in Prometheus' text format.
    Metrics,
    /// Something of the database pair; for `pgkeeper`, not for PID 1.
    Pg(PgRequest),
    /// Something of the virtual addresses; for `vipd`, not for PID 1.
    Vip(VipRequest),
}

/// What `vipd` can be asked through the node API; on its own socket it has words of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipRequest {
    /// Every virtual address, and whether it is held here.
    Status,
    /// What `vipd` has counted, in Prometheus' text format.
    Metrics,
}

/// Which log lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// Only of this service; all of the node if absent.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// The last so many lines that there are already.
    pub lines: u32,
    /// Whether to go on with new lines until the client closes.
    #[serde(default)]
    pub follow: bool,
    /// Begin with the line of this number instead of the last `lines`; then `lines` only limits
    /// what there is already.
    #[serde(default)]
    pub from_seq: Option<u64>,
}

/// What is on the line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<R> {
    version: u16,
    request: R,
}

/// The part that every version has.
#[derive(Deserialize)]
struct Peek {
    version: u16,
}

impl Request {
    /// Reads a line without its end.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        let peek: Peek =
            serde_json::from_slice(line).map_err(|error| ProtocolError::malformed(&error))?;
        if peek.version != VERSION {
            return Err(ProtocolError::Version { found: peek.version });
        }
        let envelope: Envelope<Self> =
            serde_json::from_slice(line).map_err(|error| ProtocolError::malformed(&error))?;
        if let Self::Logs(logs) = &envelope.request
            && logs.lines > MAX_LOG_LINES
        {
            return Err(ProtocolError::TooManyLines { asked: logs.lines });
        }
        Ok(envelope.request)
    }

    /// The request as a line with its end.
    pub fn to_line(&self) -> Result<Vec<u8>, ProtocolError> {
        let envelope = Envelope { version: VERSION, request: self };
        let mut line =
            serde_json::to_vec(&envelope).map_err(|error| ProtocolError::malformed(&error))?;
        if line.len() > crate::MAX_REQUEST_BYTES {
            return Err(ProtocolError::RequestTooLong);
        }
        line.push(b'\n');
        Ok(line)
    }

    /// The word for it in messages and in the node API's log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Logs(_) => "logs",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Top => "top",
            Self::Get { .. } => "get",
            Self::Metrics => "metrics",
            Self::Pg(request) => request.word(),
            Self::Vip(VipRequest::Status) => "vip status",
            Self::Vip(VipRequest::Metrics) => "vip metrics",
        }
    }

    /// Whether it changes something, and thus is worth a line in the log of who did it.
    pub fn changes(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Stop { .. }
            | Self::Restart { .. }
            | Self::Reboot
            | Self::PowerOff => true,
            Self::Pg(request) => request.changes(),
            Self::Status
            | Self::Logs(_)
            | Self::Top
            | Self::Get { .. }
            | Self::Metrics
            | Self::Vip(_) => false,
        }
    }
}
