//! The leave to be Active: what its holder and `vipd` say to each other, as messages of fixed length.
//!
//! ```text
//!   byte   0..4     4         5      6      7     8..16    16..24
//!          "VPMT"   version   kind   held   0     epoch    until
//!
//!   holder ──Grant { epoch, until }──> vipd        Active is allowed until then
//!   holder ──Withdraw { epoch }──────> vipd        not any more, from now on
//!   holder <──Report { epoch, held }── vipd        the answer to each, and news by itself
//!   holder <──Claimed { epoch }─────── vipd        somebody else adverts an address of the permit's
//! ```
//!
//! The two talk over a Unix socket of type SEQPACKET, which keeps messages apart; `vipd` listens. All
//! numbers are big-endian. `until` is a time in milliseconds on the machine's boot clock
//! (`CLOCK_BOOTTIME`), which both processes read. An absolute time, because a message can wait: a
//! relative one would come back to life with a process that was frozen. The end of the connection
//! withdraws, so a holder that dies takes its permit along.
//!
//! Epochs never go down: a grant with a lower epoch than the highest seen is refused, and a grant is
//! a promise for its own epoch only. `held` counts the virtual routers that have addresses by this
//! permit: those that are Active, and those whose addresses the kernel didn't remove yet. The answer
//! to a withdrawal comes after the addresses are gone, or after that was tried in vain, and then the
//! next report comes when they are. So a holder that reads `held` as zero may let the other node go
//! on. `Claimed` is said again for as long as adverts come, but not for each of them.

use std::time::Duration;

use thiserror::Error;

/// The length of every message.
pub const MESSAGE_BYTES: usize = 24;
const MAGIC: [u8; 4] = *b"VPMT";
const VERSION: u8 = 1;
const KIND_GRANT: u8 = 1;
const KIND_WITHDRAW: u8 = 2;
const KIND_REPORT: u8 = 3;
const KIND_CLAIMED: u8 = 4;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Be Active until then, if you win the election.
    Grant { epoch: u64, until: Duration },
    /// Stop being Active, now.
    Withdraw { epoch: u64 },
    /// `held` virtual routers have addresses by the permit of this epoch.
    Report { epoch: u64, held: u8 },
    /// Another router adverts an address that needs this permit.
    Claimed { epoch: u64 },
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    #[error("a message of {length} bytes: all have {MESSAGE_BYTES}")]
    Length { length: usize },
    #[error("the message does not start with VPMT: something else speaks on the permit's socket")]
    Magic,
    #[error("the message has version {found}: use the holder and the vipd of one release")]
    Version { found: u8 },
    #[error("a message of unknown kind {found}: use the holder and the vipd of one release")]
    Kind { found: u8 },
}

impl Message {
    pub fn encode(self) -> [u8; MESSAGE_BYTES] {
        let (kind, held, epoch, until) = match self {
            Self::Grant { epoch, until } => {
                // Rounded down: a permit may end early and never late.
                (KIND_GRANT, 0, epoch, u64::try_from(until.as_millis()).unwrap_or(u64::MAX))
            }
            Self::Withdraw { epoch } => (KIND_WITHDRAW, 0, epoch, 0),
            Self::Report { epoch, held } => (KIND_REPORT, held, epoch, 0),
            Self::Claimed { epoch } => (KIND_CLAIMED, 0, epoch, 0),
        };
        let mut bytes = [0; MESSAGE_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, kind, held, 0]);
        bytes[8..16].copy_from_slice(&epoch.to_be_bytes());
        bytes[16..].copy_from_slice(&until.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let length = bytes.len();
        let bytes: &[u8; MESSAGE_BYTES] =
            bytes.try_into().map_err(|_| MessageError::Length { length })?;
        if bytes[..4] != MAGIC {
            return Err(MessageError::Magic);
        }
        if bytes[4] != VERSION {
            return Err(MessageError::Version { found: bytes[4] });
        }
        let number = |at: usize| {
            let field = bytes[at..at + 8].iter();
            field.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        let epoch = number(8);
        match bytes[5] {
            KIND_GRANT => Ok(Self::Grant { epoch, until: Duration::from_millis(number(16)) }),
            KIND_WITHDRAW => Ok(Self::Withdraw { epoch }),
            KIND_REPORT => Ok(Self::Report { epoch, held: bytes[6] }),
            KIND_CLAIMED => Ok(Self::Claimed { epoch }),
            found => Err(MessageError::Kind { found }),
        }
    }
}
