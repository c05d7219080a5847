//! A heartbeat as a datagram: which channel it was sent on, and a proof that the pair sent it. Pure.
//!
//! ```text
//!   byte  0..4     4          5..115              115..147
//!         "EPK1"   channel    failover's body     HMAC-SHA256 over all before it
//! ```
//!
//! The channel is signed too: a datagram that somebody carries from one cable to another proves
//! nothing about the second one. Replays are the protocol's matter (`failover::Heartbeat`): each
//! body has its sender's number of this boot and a counter.

use failover::{HEARTBEAT_BYTES, Heartbeat, WireError};
use ring::hmac;
use thiserror::Error;

const MAGIC: [u8; 4] = *b"EPK1";
const HEAD_BYTES: usize = MAGIC.len() + 1;
const TAG_BYTES: usize = 32;
/// The length of every datagram.
pub const PACKET_BYTES: usize = HEAD_BYTES + HEARTBEAT_BYTES + TAG_BYTES;

/// Why a datagram isn't handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Something else speaks on this port, or another version.
    #[error("{0} bytes are no heartbeat; both nodes must run the same image")]
    Strange(usize),
    /// It doesn't come from a holder of the key.
    #[error("it is signed with another key; both seeds must have the same secrets.heartbeat_key")]
    Forged,
    /// It was sent on another channel than it came in on.
    #[error("the peer's channel {0} ends here; list failover.channels in the same order on both")]
    Crossed(u8),
    /// The body makes no sense.
    #[error(transparent)]
    Body(#[from] WireError),
}

/// Signs and checks, with the key of the pair.
pub struct Seal {
    key: hmac::Key,
}

impl std::fmt::Debug for Seal {
    /// Without the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// The seed's `secrets.heartbeat_key`, as it is written there.
    pub fn new(secret: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()) }
    }

    /// The datagram of a heartbeat on a channel.
    pub fn close(&self, channel: u8, heartbeat: &Heartbeat) -> Vec<u8> {
        let mut packet = Vec::with_capacity(PACKET_BYTES);
        packet.extend(MAGIC);
        packet.push(channel);
        packet.extend(heartbeat.encode());
        let tag = hmac::sign(&self.key, &packet);
        packet.extend(tag.as_ref());
        packet
    }

    /// The heartbeat of a datagram that came in on a channel.
    pub fn open(&self, channel: u8, packet: &[u8]) -> Result<Heartbeat, PacketError> {
        let strange = PacketError::Strange(packet.len());
        let (signed, tag) = packet.split_last_chunk::<TAG_BYTES>().ok_or(strange)?;
        let body = signed.strip_prefix(&MAGIC).ok_or(strange)?;
        if packet.len() != PACKET_BYTES {
            return Err(strange);
        }
        hmac::verify(&self.key, signed, tag).map_err(|_| PacketError::Forged)?;
        match body.split_first() {
            Some((&sent, body)) if sent == channel => Ok(Heartbeat::decode(body)?),
            Some((&sent, _)) => Err(PacketError::Crossed(sent)),
            None => Err(strange),
        }
    }
}

#[cfg(test)]
mod tests {
    use failover::{Configuration, Epoch, Flags, Lsn, Members, Side, State, Timeline};
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn heartbeat(seq: u64) -> Heartbeat {
        let config = Configuration {
            epoch: Epoch(5),
            base: Epoch(3),
            leader: Side::A,
            members: Members::Both,
        };
        Heartbeat {
            cluster: 7,
            from: Side::A,
            nonce: 11,
            seq,
            echo_nonce: 12,
            echo_seq: 13,
            hears: 0b11,
            state: State::PSync,
            config,
            claim: None,
            promised: Epoch(5),
            flags: Flags { voter: true, fit: true, ..Flags::default() },
            timeline: Timeline(2),
            lsn: Lsn(0x0300_0060),
        }
    }

    #[test]
    fn what_was_closed_is_opened_on_its_channel_by_its_key() {
        let seal = Seal::new(KEY);
        let packet = seal.close(3, &heartbeat(9));
        assert_eq!(packet.len(), PACKET_BYTES);
        assert_eq!(seal.open(3, &packet), Ok(heartbeat(9)));
        assert_eq!(seal.open(2, &packet), Err(PacketError::Crossed(3)));
        let other = Seal::new("another key of the same length..");
        assert_eq!(other.open(3, &packet), Err(PacketError::Forged));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(proptest::num::u8::ANY, 0..300)) {
            prop_assert!(Seal::new(KEY).open(0, &bytes).is_err());
        }

        #[test]
        fn one_changed_bit_is_noticed(seq in 1_u64.., at in 0..PACKET_BYTES, bit in 0_u8..8) {
            let seal = Seal::new(KEY);
            let mut packet = seal.close(0, &heartbeat(seq));
            packet[at] ^= 1 << bit;
            prop_assert!(seal.open(0, &packet).is_err());
        }

        #[test]
        fn a_cut_or_longer_one_is_no_packet(length in 0..2 * PACKET_BYTES) {
            let seal = Seal::new(KEY);
            let mut packet = seal.close(0, &heartbeat(1));
            packet.resize(length, 0);
            prop_assert_eq!(seal.open(0, &packet).is_ok(), length == PACKET_BYTES);
        }
    }
}
