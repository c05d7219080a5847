//! The signature that keepalived 2.4.1 and later can append to a version 3 advert.
//!
//! ```text
//!   byte   0        1        2..4       4..8       8..10      10..12    12..28
//!          scheme   key id   0, 0       seconds    fraction   counter   HMAC
//! ```
//!
//! Scheme 1 is HMAC-SHA256, cut to its first 128 bits. It is computed over a header that is never
//! sent (family as 4 or 6, version, VRID, zero, and the sender's address padded to 16 bytes), then
//! the advert with its checksum read as zero, then the twelve bytes before the HMAC, then sixteen
//! zeros. So a signature fits one virtual router and one sender, whatever the destination is.
//!
//! Seconds, fraction and counter are one 64-bit number that grows with every advert of a sender.
//! `replay.rs` judges it. The format is that of `draft-cassen-vrrp-auth-hmac`; the tests hold the
//! two packets of its appendix against this file. Release 2.4.0 had another one, which its authors
//! gave up within a week and which is not offered here.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::checksum::{CHECKSUM_AT, PseudoHeader, checksum};
use super::{EncodeError, Freshness, Writing};
use crate::wellknown::Family;

/// What the signature adds to an advert.
pub const TRAILER_BYTES: usize = 28;
/// The part of the hash that is sent.
pub const SIGNATURE_BYTES: usize = 16;
/// Scheme, key, zeros and sequence: what stands before the hash.
const PREFIX_BYTES: usize = TRAILER_BYTES - SIGNATURE_BYTES;
const SCHEME_HMAC_SHA256_128: u8 = 1;
/// Bounds of a key, as keepalived has them: 256 bits at least, one block of the hash at most.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=64;
/// Input block of SHA-256, which RFC 2104 pads the key to.
const BLOCK_BYTES: usize = 64;
const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;
/// The version that the signature is bound to; only version 3 adverts carry one.
const SIGNED_VERSION: u8 = 3;

/// Why keys can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("a key of {length} bytes: it needs 32 to 64")]
    Length { length: usize },
    #[error("a key's id is 1 to 255, not 0")]
    ZeroId,
    #[error("two keys have the id {id}: give each its own")]
    Repeated { id: u8 },
    #[error("no key has the id {id}, which is to sign: name one of the keys")]
    NoActive { id: u8 },
}

/// Why a signature was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TrailerError {
    #[error("the signature's scheme {scheme} or its reserved bytes are unknown")]
    Malformed { scheme: u8 },
    #[error("the signature is {seconds} s away from this clock: set both clocks")]
    Stale { seconds: i64 },
    #[error("the signature names key {id}, which is not configured: set the same keys everywhere")]
    UnknownKey { id: u8 },
    #[error("the signature is wrong: compare the keys, or somebody forges adverts")]
    Forged,
    #[error("the advert was seen before, or is older than one that was: somebody replays adverts")]
    Replayed,
}

/// A shared secret. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: u8,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Key {{ id: {}, {} bytes }}", self.id, self.bytes.len())
    }
}

impl Key {
    pub fn new(id: u8, bytes: &[u8]) -> Result<Self, KeyError> {
        if id == 0 {
            return Err(KeyError::ZeroId);
        }
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(KeyError::Length { length: bytes.len() });
        }
        Ok(Self { id, bytes: bytes.to_vec() })
    }
}

/// All keys that are believed, and the one that signs. Two at a time make a change of key possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
    active: u8,
}

impl Keyring {
    pub fn new(keys: Vec<Key>, active: u8) -> Result<Self, KeyError> {
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyError::Repeated { id: key.id });
            }
        }
        if keys.iter().all(|key| key.id != active) {
            return Err(KeyError::NoActive { id: active });
        }
        Ok(Self { keys, active })
    }

    fn key(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// A received signature, not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer<'a> {
    bytes: &'a [u8; TRAILER_BYTES],
}

impl<'a> Trailer<'a> {
    pub(super) fn new(bytes: &'a [u8; TRAILER_BYTES]) -> Self {
        Self { bytes }
    }

    /// Seconds, fraction and counter as one number.
    pub(super) fn sequence(self) -> u64 {
        self.prefix().last_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    pub(super) fn well_formed(self) -> Result<(), TrailerError> {
        let [scheme, _, reserved @ .., _, _, _, _, _, _, _, _] = *self.prefix();
        if scheme == SCHEME_HMAC_SHA256_128 && reserved == [0, 0] {
            return Ok(());
        }
        Err(TrailerError::Malformed { scheme })
    }

    /// Whether one of the keys made this signature, for this message of this sender.
    pub(super) fn verify(
        self,
        keyring: &Keyring,
        source: IpAddr,
        message: &[u8],
    ) -> Result<(), TrailerError> {
        let id = self.prefix()[1];
        let key = keyring.key(id).ok_or(TrailerError::UnknownKey { id })?;
        let expected = signature(key, source, message, self.prefix());
        let found = &self.bytes[PREFIX_BYTES..];
        // All bytes are compared, so that the time tells nothing about the first that differs.
        let difference =
            expected.iter().zip(found).fold(0, |all, (ours, sent)| all | (ours ^ sent));
        if difference == 0 { Ok(()) } else { Err(TrailerError::Forged) }
    }

    fn prefix(self) -> &'a [u8; PREFIX_BYTES] {
        self.bytes.first_chunk().expect("a trailer is longer than its prefix")
    }
}

/// Signs the adverts of one virtual router, with a sequence that only grows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signer {
    last: u64,
}

impl Signer {
    /// Appends a signature to the advert in the first `length` bytes of `buffer`; returns the length
    /// with it. `wall` is the time since 1970.
    pub fn sign(
        &mut self,
        keyring: &Keyring,
        freshness: Freshness,
        wall: Duration,
        writing: &Writing,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, EncodeError> {
        let wanted = length + TRAILER_BYTES;
        let offered = buffer.len();
        let too_small = EncodeError::BufferTooSmall { length: offered, wanted };
        let packet = buffer.get_mut(..wanted).ok_or(too_small)?;
        let (message, trailer) = packet.split_at_mut(length);

        let mut prefix = [SCHEME_HMAC_SHA256_128, keyring.active, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        prefix[4..].copy_from_slice(&self.next(freshness, wall).to_be_bytes());
        trailer[..PREFIX_BYTES].copy_from_slice(&prefix);
        // A ring without its active key can't be made, and a signature of zeros is no signature.
        let signed = keyring.key(keyring.active);
        let hash = signed
            .map_or([0; SIGNATURE_BYTES], |key| signature(key, writing.source, message, &prefix));
        trailer[PREFIX_BYTES..].copy_from_slice(&hash);

        if Family::of(&writing.source) == Family::V6 {
            let ends = PseudoHeader { source: writing.source, destination: writing.destination };
            let sum = checksum(packet, Some(&ends));
            packet[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
        }
        Ok(wanted)
    }

    /// The time, or one more than the last number if the clock has not advanced.
    fn next(&mut self, freshness: Freshness, wall: Duration) -> u64 {
        let clock = sequence_at(wall);
        let behind = super::replay::is_after(self.last, clock);
        let restart = match freshness {
            // The clock was set back: receivers only believe its new time.
            Freshness::Window { seconds } => {
                behind && super::replay::seconds_apart(self.last, clock) > i64::from(seconds)
            }
            Freshness::Monotonic => false,
        };
        self.last = if restart || super::replay::is_after(clock, self.last) {
            clock
        } else {
            self.last.wrapping_add(1)
        };
        self.last
    }
}

/// Seconds in the high half, a fraction of 1/65536 s below it, and a counter of zero.
pub(super) fn sequence_at(wall: Duration) -> u64 {
    let fraction = (u64::from(wall.subsec_nanos()) << 16) / 1_000_000_000;
    (wall.as_secs() << 32) | (fraction << 16)
}

fn signature(
    key: &Key,
    source: IpAddr,
    message: &[u8],
    prefix: &[u8; PREFIX_BYTES],
) -> [u8; SIGNATURE_BYTES] {
    let vrid = message.get(1).copied().unwrap_or(0);
    let (family, mut address) = (if source.is_ipv4() { 4 } else { 6 }, [0; 16]);
    match source {
        IpAddr::V4(source) => address[..4].copy_from_slice(&source.octets()),
        IpAddr::V6(source) => address.copy_from_slice(&source.octets()),
    }
    let before_checksum = message.get(..CHECKSUM_AT).unwrap_or(message);
    let after_checksum = message.get(CHECKSUM_AT + 2..).unwrap_or(&[]);
    let parts: [&[u8]; 7] = [
        &[family, SIGNED_VERSION, vrid, 0],
        &address,
        before_checksum,
        &[0, 0],
        after_checksum,
        prefix,
        &[0; SIGNATURE_BYTES],
    ];
    let digest = hmac(&key.bytes, &parts);
    digest.first_chunk().copied().expect("the hash is longer than its part")
}

/// RFC 2104 over SHA-256. Keys are never longer than a block, so none has to be shortened.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha256::new();
    inner.update(padded(INNER_PAD));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(padded(OUTER_PAD));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_case_of_rfc_4231_agrees() {
        let digest = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(digest[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn a_sequence_grows_though_the_clock_stands_still() {
        let mut signer = Signer::default();
        let now = Duration::from_secs(1_000_000);
        let first = signer.next(Freshness::Monotonic, now);
        assert_eq!(signer.next(Freshness::Monotonic, now), first + 1);
        let earlier = Duration::from_secs(1);
        assert_eq!(signer.next(Freshness::Monotonic, earlier), first + 2);
        let window = Freshness::Window { seconds: 5 };
        assert_eq!(signer.next(window, earlier), sequence_at(earlier), "the clock was set back");
    }
}
