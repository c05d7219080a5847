//! The durable record: what a node must never forget, and its form on disk.
//!
//! It lives outside PostgreSQL's data, on its own partition, and is written before anything that
//! it allows is done. The form is fixed in length and ends in a checksum over all of it, so a torn
//! or rotten record is told from a good one. A damaged record is *not* a missing one, and neither
//! is ever guessed: a node without a record has no vote.

use crate::words::{Configuration, Epoch, Lsn, Members, Side, Timeline};

/// What a node must never forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, each with its own reason to change.
pub struct Record {
    /// Whose record it is.
    pub cluster: u64,
    /// Whose record it is.
    pub side: Side,
    /// The newest configuration that this node knows to be in force.
    pub config: Configuration,
    /// This node's own wish for the next one, not granted yet.
    pub claim: Option<Configuration>,
    /// The highest epoch that this node has voted in. Above `config.epoch` it means: "as a standby
    /// of that configuration I acknowledge nothing any more".
    pub promised: Epoch,
    /// Whether its votes count: it has remembered all of them since it became a member.
    pub voter: bool,
    /// Its data may have parted from the leader's history.
    pub rewind: bool,
    /// A rewind of its data was begun and not finished: the data can't serve anybody.
    pub half_rewound: bool,
    /// Its database is still to be made.
    pub fresh: bool,
    /// Clients wait until kine's revision has been moved forward.
    pub revision_fence: bool,
    /// The operator wants no automatic failover.
    pub maintenance: bool,
    /// PostgreSQL's timeline when this was written; a cross-check for people.
    pub timeline: Timeline,
    /// PostgreSQL's position when this was written; a cross-check for people.
    pub lsn: Lsn,
}

impl Record {
    /// A node that remembers nothing.
    pub const fn blank(cluster: u64, side: Side) -> Self {
        Self {
            cluster,
            side,
            config: Configuration::NONE,
            claim: None,
            promised: Epoch::NONE,
            voter: false,
            rewind: false,
            half_rewound: false,
            fresh: false,
            revision_fence: false,
            maintenance: false,
            timeline: Timeline(0),
            lsn: Lsn(0),
        }
    }

    /// Whether, as a standby, it has given up acknowledging in its configuration.
    pub fn has_withdrawn(&self) -> bool {
        self.promised > self.config.epoch
    }
}

/// What was found where the record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// A good record.
    Found(Record),
    /// Nothing.
    Missing,
    /// Something that isn't a good record of this node.
    Damaged,
}

/// Why bytes aren't a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Cut short or grown.
    #[error("the record has {0} bytes, not {RECORD_BYTES}; the node must be taken in anew")]
    Length(usize),
    /// Another format.
    #[error("the record has an unknown format; the node must be taken in anew")]
    Format,
    /// Torn or rotten.
    #[error("the record's checksum is wrong; the node must be taken in anew")]
    Checksum,
    /// Written by something else.
    #[error("the record contradicts itself; the node must be taken in anew")]
    Nonsense,
}

/// The length of a record on disk.
pub const RECORD_BYTES: usize = 97;
const MAGIC: [u8; 8] = *b"EPFOREC1";
const CHECKSUM_BYTES: usize = 4;

/// CRC-32 (IEEE), bit by bit: a record has a hundred bytes, so a table isn't worth its cache lines.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(sum & 1))
        })
    })
}

pub(crate) fn put_config(out: &mut Vec<u8>, config: Configuration) {
    out.extend(config.epoch.0.to_be_bytes());
    out.extend(config.base.0.to_be_bytes());
    out.push(u8::from(config.leader == Side::B));
    out.push(u8::from(config.members == Members::Both));
}

/// Reads fixed-size fields one after the other; everything it can say is "there is no such thing".
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn side(&mut self) -> Option<Side> {
        match self.byte()? {
            0 => Some(Side::A),
            1 => Some(Side::B),
            _ => None,
        }
    }

    pub(crate) fn config(&mut self) -> Option<Configuration> {
        let epoch = Epoch(self.number()?);
        let base = Epoch(self.number()?);
        let leader = self.side()?;
        let members = match self.byte()? {
            0 => Members::Leader,
            1 => Members::Both,
            _ => return None,
        };
        let config = Configuration { epoch, base, leader, members };
        config.is_sound().then_some(config)
    }

    /// A configuration that may be absent, which is written as [`Configuration::NONE`].
    #[allow(clippy::option_option)] // The outer one is "no such bytes", the inner one "no wish".
    pub(crate) fn wish(&mut self) -> Option<Option<Configuration>> {
        self.config().map(|config| config.exists().then_some(config))
    }
}

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD_BYTES);
        out.extend(MAGIC);
        out.extend(self.cluster.to_be_bytes());
        out.push(u8::from(self.side == Side::B));
        put_config(&mut out, self.config);
        put_config(&mut out, self.claim.unwrap_or(Configuration::NONE));
        out.extend(self.promised.0.to_be_bytes());
        out.push(pack(&[
            self.voter,
            self.rewind,
            self.half_rewound,
            self.fresh,
            self.revision_fence,
            self.maintenance,
        ]));
        out.extend(self.timeline.0.to_be_bytes());
        out.extend(self.lsn.0.to_be_bytes());
        // Room for what a later version must remember, so that it can roll back to this one.
        out.resize(RECORD_BYTES - CHECKSUM_BYTES, 0);
        let sum = checksum(&out);
        out.extend(sum.to_be_bytes());
        out
    }

    /// Reads bytes back, if they are a whole record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() != RECORD_BYTES {
            return Err(RecordError::Length(bytes.len()));
        }
        let (body, sum) = bytes.split_at(RECORD_BYTES - CHECKSUM_BYTES);
        if !body.starts_with(&MAGIC) {
            return Err(RecordError::Format);
        }
        if sum != checksum(body).to_be_bytes() {
            return Err(RecordError::Checksum);
        }
        let body = body.get(MAGIC.len()..).unwrap_or_default();
        Self::fields(&mut Reader(body)).ok_or(RecordError::Nonsense)
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        let cluster = reader.number()?;
        let side = reader.side()?;
        let config = reader.config()?;
        let claim = reader.wish()?;
        let promised = Epoch(reader.number()?);
        let [voter, rewind, half_rewound, fresh, revision_fence, maintenance] =
            unpack(reader.byte()?)?;
        let timeline = Timeline(u32::from_be_bytes(reader.take()?));
        let lsn = Lsn(reader.number()?);
        let own = claim.is_none_or(|claim| claim.led_by(side) && claim.epoch <= promised);
        let sound = own && promised >= config.epoch && reader.0.iter().all(|byte| *byte == 0);
        sound.then_some(Self {
            cluster,
            side,
            config,
            claim,
            promised,
            voter,
            rewind,
            half_rewound,
            fresh,
            revision_fence,
            maintenance,
            timeline,
            lsn,
        })
    }

    /// What bytes on disk mean to this node; `None` stands for no file.
    pub fn recall(cluster: u64, side: Side, bytes: Option<&[u8]>) -> Recall {
        match bytes.map(Self::decode) {
            None => Recall::Missing,
            Some(Ok(record)) if record.cluster == cluster && record.side == side => {
                Recall::Found(record)
            }
            Some(_) => Recall::Damaged,
        }
    }
}

/// Up to eight flags in a byte, the first in the lowest bit.
pub(crate) fn pack(flags: &[bool]) -> u8 {
    flags.iter().rev().fold(0, |byte, flag| (byte << 1) | u8::from(*flag))
}

/// The flags back, if no other bit is set.
pub(crate) fn unpack<const N: usize>(byte: u8) -> Option<[bool; N]> {
    let flags = std::array::from_fn(|place| byte >> place & 1 == 1);
    (pack(&flags) == byte).then_some(flags)
}
