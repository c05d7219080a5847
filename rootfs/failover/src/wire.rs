//! What the peers tell each other: heartbeats, and nothing else.
//!
//! A heartbeat shows the sender's durable record, so a claim, a consent, an offer and an answer are
//! all the same message: "this is what I have written down". Heartbeats may be lost, doubled,
//! delayed and reordered without harm, because each one says everything.
//!
//! These bytes are what the shell authenticates: it appends an HMAC over all of them and hands on
//! only what it could verify. Replays are this crate's matter: each heartbeat carries the sender's
//! per-boot nonce and a counter, and echoes the receiver's (see [`crate::link`]).

use crate::event::Trouble;
use crate::record::{Reader, pack, put_config, unpack};
use crate::state::State;
use crate::words::{Configuration, Epoch, Lsn, Side, Timeline};

/// One heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// Which cluster it belongs to.
    pub cluster: u64,
    /// Who speaks.
    pub from: Side,
    /// The sender's own random number of this boot.
    pub nonce: u64,
    /// Counts the sender's heartbeats of this boot.
    pub seq: u64,
    /// The nonce of the last heartbeat that the sender heard; 0 before the first.
    pub echo_nonce: u64,
    /// Its counter.
    pub echo_seq: u64,
    /// "I hear you": one bit per channel on which the peer was heard lately.
    pub hears: u8,
    /// What the sender is.
    pub state: State,
    /// The sender's durable configuration.
    pub config: Configuration,
    /// The sender's durable claim.
    pub claim: Option<Configuration>,
    /// The sender's durable promise.
    pub promised: Epoch,
    /// What else the receiver must know.
    pub flags: Flags,
    /// The sender's timeline.
    pub timeline: Timeline,
    /// How far the sender's WAL is flushed.
    pub lsn: Lsn,
}

/// The yes-or-no parts of a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // They are bits of one byte on the wire.
pub struct Flags {
    /// Its votes count.
    pub voter: bool,
    /// Its data could serve, or follow.
    pub fit: bool,
    /// It has no record and no data.
    pub blank: bool,
    /// It stopped serving, and would agree that the receiver leads.
    pub offer: bool,
    /// The operator wants no automatic failover.
    pub maintenance: bool,
    /// What is wrong with its disk: a leader with the same is no worse.
    pub trouble: Trouble,
}

/// Why bytes aren't a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not of the one length that heartbeats have.
    #[error("a heartbeat has {HEARTBEAT_BYTES} bytes, not {0}; is the peer of another version?")]
    Length(usize),
    /// Another format or version.
    #[error("not a heartbeat of this version; both nodes must run the same image")]
    Format,
    /// A field has a value that doesn't exist.
    #[error("a heartbeat with a field that makes no sense was ignored")]
    Nonsense,
}

/// The length of every heartbeat, without the shell's HMAC.
pub const HEARTBEAT_BYTES: usize = 110;
const MAGIC: [u8; 4] = *b"EPH1";

impl Heartbeat {
    /// The heartbeat as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEARTBEAT_BYTES);
        out.extend(MAGIC);
        out.extend(self.cluster.to_be_bytes());
        out.push(u8::from(self.from == Side::B));
        for number in [self.nonce, self.seq, self.echo_nonce, self.echo_seq] {
            out.extend(number.to_be_bytes());
        }
        out.push(self.hears);
        out.push(self.state as u8);
        put_config(&mut out, self.config);
        put_config(&mut out, self.claim.unwrap_or(Configuration::NONE));
        out.extend(self.promised.0.to_be_bytes());
        let Flags { voter, fit, blank, offer, maintenance, trouble } = self.flags;
        let (room, slow) = (trouble == Trouble::Room, trouble == Trouble::Slow);
        out.push(pack(&[voter, fit, blank, offer, maintenance, room, slow]));
        out.extend(self.timeline.0.to_be_bytes());
        out.extend(self.lsn.0.to_be_bytes());
        out.resize(HEARTBEAT_BYTES, 0);
        out
    }

    /// Reads bytes back, if they are a whole heartbeat.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() != HEARTBEAT_BYTES {
            return Err(WireError::Length(bytes.len()));
        }
        let body = bytes.strip_prefix(&MAGIC).ok_or(WireError::Format)?;
        Self::fields(&mut Reader(body)).ok_or(WireError::Nonsense)
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        let cluster = reader.number()?;
        let from = reader.side()?;
        let nonce = reader.number()?;
        let seq = reader.number()?;
        let echo_nonce = reader.number()?;
        let echo_seq = reader.number()?;
        let hears = reader.byte()?;
        let state = State::from_number(reader.byte()?)?;
        let config = reader.config()?;
        let claim = reader.wish()?;
        let promised = Epoch(reader.number()?);
        let [voter, fit, blank, offer, maintenance, room, slow] = unpack(reader.byte()?)?;
        let trouble = match (room, slow) {
            (false, false) => Trouble::None,
            (true, false) => Trouble::Room,
            (false, true) => Trouble::Slow,
            (true, true) => return None,
        };
        let timeline = Timeline(u32::from_be_bytes(reader.take()?));
        let lsn = Lsn(reader.number()?);
        let own = claim.is_none_or(|claim| claim.led_by(from) && claim.epoch <= promised);
        let padded = reader.0.iter().all(|byte| *byte == 0);
        (own && padded && promised >= config.epoch).then_some(Self {
            cluster,
            from,
            nonce,
            seq,
            echo_nonce,
            echo_seq,
            hears,
            state,
            config,
            claim,
            promised,
            flags: Flags { voter, fit, blank, offer, maintenance, trouble },
            timeline,
            lsn,
        })
    }

    /// Whether the sender asks for more than its configuration gives it, or has given up
    /// acknowledging in it.
    pub fn has_withdrawn(&self) -> bool {
        self.promised > self.config.epoch
    }
}
