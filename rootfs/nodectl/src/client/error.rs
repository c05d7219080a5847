//! Why a node can't be asked, or what it said instead of an answer.

use std::io;

use control::{ProtocolError, Refusal};
use rustls::AlertDescription;

use super::operator::OperatorError;

/// Exit code for what was refused or failed.
const FAILED: u8 = 1;
/// Exit code for a node that can't be reached.
const UNREACHABLE: u8 = 3;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the unix socket.
    #[error(
        "nobody answers at {socket} ({source}): on a node its agent does; from a desk say which node \
         with --node ADDRESS"
    )]
    NoAgent {
        /// The socket.
        socket: String,
        /// What the system says.
        source: io::Error,
    },
    /// The unix socket is for others.
    #[error("{socket} is for root: run nodectl as root, or from a desk with --node ADDRESS")]
    NotPermitted {
        /// The socket.
        socket: String,
    },
    /// The operator's folder can't be used.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The node doesn't answer.
    #[error(
        "{node} can't be reached: {source}; check the address, that the node is on, and that its \
         seed has [operators]"
    )]
    Unreachable {
        /// The address.
        node: String,
        /// What the system says.
        source: io::Error,
    },
    /// The node hung up before it knew us.
    #[error(
        "{node} hung up: it allows only so many attempts in a row; wait a minute, and look at its \
         log for refused certificates"
    )]
    HungUp {
        /// The address.
        node: String,
    },
    /// The node doesn't accept our certificate.
    #[error(
        "{node} refuses this operator's certificate ({alert}): list its fingerprint \
         {fingerprint} in [operators] of the node's seed, or use the folder of the node's own \
         cluster"
    )]
    CertificateRefused {
        /// The address.
        node: String,
        /// The alert in its own words.
        alert: String,
        /// Ours.
        fingerprint: String,
    },
    /// We don't accept the node's certificate.
    #[error(
        "{node} does not prove to be a node of this cluster ({why}): check the address, and use the \
         folder of the node's own cluster"
    )]
    Stranger {
        /// The address.
        node: String,
        /// What rustls says.
        why: String,
    },
    /// The connection broke while the answer was on its way.
    #[error("the connection to {node} ended early ({why}): the node may be going down; try again")]
    CutOff {
        /// The address.
        node: String,
        /// What happened.
        why: String,
    },
    /// A line that is no answer.
    #[error("{node}: {source}")]
    Protocol {
        /// The address.
        node: String,
        /// What is wrong with it.
        source: ProtocolError,
    },
    /// An answer to another question.
    #[error("{node} answered something else than was asked: use a nodectl of the node's version")]
    Unexpected {
        /// The address.
        node: String,
    },
    /// The node says no.
    #[error("{node}: {refusal}")]
    Refused {
        /// The address.
        node: String,
        /// Its reason.
        refusal: Refusal,
    },
}

impl ClientError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoAgent { .. }
            | Self::Unreachable { .. }
            | Self::HungUp { .. }
            | Self::CutOff { .. } => UNREACHABLE,
            _ => FAILED,
        }
    }

    /// Sorts an error of a TLS connection: whose fault is it?
    pub(super) fn of_tls(node: &str, fingerprint: &str, error: io::Error) -> Self {
        let node = node.to_owned();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => {
                let (alert, fingerprint) = (format!("{alert:?}"), fingerprint.to_owned());
                Self::CertificateRefused { node, alert, fingerprint }
            }
            Some(error) => Self::Stranger { node, why: error.to_string() },
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::HungUp { node },
                _ => Self::Unreachable { node, source: error },
            },
        }
    }
}

/// Whether an alert tells that the other side dislikes our certificate.
fn is_about_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
            | AlertDescription::DecryptError
    )
}
