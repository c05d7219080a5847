//! The witness: a third voter that stores one register per cluster.
//!
//! ```text
//! ask(register, question) -> (register to fsync before answering, answer)
//! ```
//!
//! It has no clock and no opinion. It grants at most one claim that follows a configuration, so of
//! two members that each want to leave synchrony exactly one wins. It may be away while the peers
//! decide things together: a claim that follows a configuration newer than its own is then granted
//! as well, because whoever decides without the witness decides with the other member.
//!
//! A witness that lost its memory might contradict itself. So an empty register grants nothing; it
//! is filled by a pair that is in sync and claims nothing, and only for this very emptiness: the
//! register's incarnation is drawn anew when it is made, so a late enrolment finds another one.

use crate::record::{Reader, checksum, put_config};
use crate::settings::Rules;
use crate::words::{Configuration, Epoch, Members, Side};

/// What the witness never forgets about one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// Whose register it is.
    pub cluster: u64,
    /// Drawn at random when the register was made.
    pub incarnation: u64,
    /// The last configuration that it granted or was enrolled with; none in an empty register.
    pub config: Option<Configuration>,
}

/// A question to the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Which cluster asks.
    pub cluster: u64,
    /// Which node asks.
    pub from: Side,
    /// The asker's nonce of this boot; it comes back in the answer.
    pub nonce: u64,
    /// What the asker wants to be granted, if anything.
    pub claim: Option<Configuration>,
    /// What to fill an empty register of this incarnation with.
    pub enroll: Option<(u64, Configuration)>,
}

/// The witness's answer: what it has written down. A claim is granted if it is what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// Which cluster was asked about.
    pub cluster: u64,
    /// The asker's nonce.
    pub nonce: u64,
    /// The register's incarnation.
    pub incarnation: u64,
    /// What stands in the register.
    pub config: Option<Configuration>,
}

impl Register {
    /// An empty register; `incarnation` is random.
    pub const fn empty(cluster: u64, incarnation: u64) -> Self {
        Self { cluster, incarnation, config: None }
    }

    /// Answers a question. The register must be durable before the answer leaves.
    pub fn ask(&mut self, ask: &Ask) -> Answer {
        self.ask_by(ask, &Rules::ALL)
    }

    /// The same, by rules that a test may have bent.
    pub fn ask_by(&mut self, ask: &Ask, rules: &Rules) -> Answer {
        if ask.cluster == self.cluster {
            match (self.config, ask.claim, ask.enroll) {
                (None, _, Some((incarnation, config))) if incarnation == self.incarnation => {
                    self.config = Some(config);
                }
                (None, Some(claim), _) if !rules.witness_enrolls => self.config = Some(claim),
                (Some(config), Some(claim), _) if may_grant(config, claim, ask.from, rules) => {
                    self.config = Some(claim);
                }
                _ => {}
            }
        }
        let (cluster, incarnation, config) = (self.cluster, self.incarnation, self.config);
        Answer { cluster, nonce: ask.nonce, incarnation, config }
    }
}

fn may_grant(current: Configuration, claim: Configuration, from: Side, rules: &Rules) -> bool {
    let proper = claim.led_by(from) && claim.members == Members::Leader && claim.is_sound();
    let follows = claim.base >= current.epoch || !rules.witness_grants_once;
    // A node may raise its own claim: had it used the former grant, it would claim from there.
    let raises = claim.base == current.base && claim.leader == current.leader;
    proper && claim.epoch > current.epoch && (follows || raises)
}

const MAGIC: [u8; 4] = *b"EPW1";
/// The length of a stored register.
pub const REGISTER_BYTES: usize = 42;
/// The length of a question.
pub const ASK_BYTES: usize = 65;
/// The length of an answer.
pub const ANSWER_BYTES: usize = 46;

impl Register {
    /// The register as bytes, with a checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.cluster.to_be_bytes());
        out.extend(self.incarnation.to_be_bytes());
        put_config(&mut out, self.config.unwrap_or(Configuration::NONE));
        let sum = checksum(&out);
        out.extend(sum.to_be_bytes());
        out
    }

    /// Reads bytes back; `None` is a damaged register, to be replaced by an empty one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != REGISTER_BYTES || *sum != checksum(body).to_be_bytes() {
            return None;
        }
        let mut reader = Reader(body.strip_prefix(&MAGIC)?);
        let (cluster, incarnation) = (reader.number()?, reader.number()?);
        Some(Self { cluster, incarnation, config: reader.wish()? })
    }
}

impl Ask {
    /// The question as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.cluster.to_be_bytes());
        out.push(u8::from(self.from == Side::B));
        out.extend(self.nonce.to_be_bytes());
        put_config(&mut out, self.claim.unwrap_or(Configuration::NONE));
        let (incarnation, config) = self.enroll.unwrap_or((0, Configuration::NONE));
        out.extend(incarnation.to_be_bytes());
        put_config(&mut out, config);
        out
    }

    /// Reads bytes back, if they are a whole question.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != ASK_BYTES {
            return None;
        }
        let mut reader = Reader(bytes.strip_prefix(&MAGIC)?);
        let cluster = reader.number()?;
        let from = reader.side()?;
        let nonce = reader.number()?;
        let claim = reader.wish()?;
        let incarnation = reader.number()?;
        let enroll = reader.wish()?.map(|config| (incarnation, config));
        (enroll.is_some() || incarnation == 0).then_some(Self {
            cluster,
            from,
            nonce,
            claim,
            enroll,
        })
    }
}

impl Answer {
    /// The answer as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for number in [self.cluster, self.nonce, self.incarnation] {
            out.extend(number.to_be_bytes());
        }
        put_config(&mut out, self.config.unwrap_or(Configuration::NONE));
        out
    }

    /// Reads bytes back, if they are a whole answer.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != ANSWER_BYTES {
            return None;
        }
        let mut reader = Reader(bytes.strip_prefix(&MAGIC)?);
        let (cluster, nonce) = (reader.number()?, reader.number()?);
        let incarnation = reader.number()?;
        Some(Self { cluster, nonce, incarnation, config: reader.wish()? })
    }
}

/// What the witness and its askers agree on when neither has seen a configuration.
impl Answer {
    /// The newest epoch that the witness has seen.
    pub fn epoch(&self) -> Epoch {
        self.config.map_or(Epoch::NONE, |config| config.epoch)
    }
}
