//! The packets of RFC 5905, as far as a client needs them: one question, one answer.

use thiserror::Error;

use super::stamp::{Nanos, Stamp, short_nanos};

/// A packet's size without extensions, which we neither send nor read.
pub const PACKET_BYTES: usize = 48;

/// The largest answer that is read; what a server appends is ignored.
pub const ANSWER_BYTES_MAX: usize = 512;

/// Version 4, mode 3 (client), and nothing that tells about us.
const QUESTION_HEAD: u8 = 4 << 3 | MODE_CLIENT;
const MODE_CLIENT: u8 = 3;
const MODE_SERVER: u8 = 4;
const VERSIONS: std::ops::RangeInclusive<u8> = 3..=4;
const LEAP_UNSYNCHRONISED: u8 = 3;
/// A server of this stratum or beyond has no time.
const STRATUM_NONE: u8 = 16;
/// A server further than this from a true clock has no time worth asking for.
const ROOT_DISTANCE_MAX: Nanos = 1_500_000_000;

/// Why an answer counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejected {
    #[error("an answer of less than {PACKET_BYTES} bytes")]
    Short,
    #[error("no answer of a server, by its mode or version")]
    NotAnAnswer,
    /// The origin isn't what we sent: a late answer, or somebody who guesses.
    #[error("an answer to something that we didn't ask")]
    NotOurs,
    #[error("the server sends us away ({0})")]
    Kiss(Kiss),
    #[error("the server isn't synchronised itself")]
    Unsynchronised,
    #[error("the server is more than 1.5 s from a true clock")]
    Distant,
    #[error("the server's times contradict each other")]
    Nonsense,
    #[error("the server's time is earlier than this image, or than a time that was")]
    BeforeFloor,
}

/// What a server without time for us says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kiss {
    /// Ask less often.
    Rate,
    /// Don't ask at all.
    Deny,
    /// Another code, which changes nothing.
    Other([u8; 4]),
}

impl std::fmt::Display for Kiss {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rate => out.write_str("asked too often"),
            Self::Deny => out.write_str("not served"),
            Self::Other(code) => write!(out, "code {}", code.escape_ascii()),
        }
    }
}

/// An answer that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub stratum: u8,
    /// Of the server: half the way to a true clock and back, and how far it may have drifted.
    pub root_distance: Nanos,
    /// When the server got the question, and sent the answer.
    pub received: Stamp,
    pub sent: Stamp,
}

/// A question. The cookie stands where our own time could; the answer repeats it, so only who saw
/// the question can answer, and our clock is nobody's business.
pub fn question(cookie: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = QUESTION_HEAD;
    packet[40..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// Reads the answer to the question with this cookie.
pub fn answer(bytes: &[u8], cookie: u64) -> Result<Answer, Rejected> {
    let packet: &[u8; PACKET_BYTES] = bytes.first_chunk().ok_or(Rejected::Short)?;
    let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
    if mode != MODE_SERVER || !VERSIONS.contains(&version) {
        return Err(Rejected::NotAnAnswer);
    }
    if u64_at(packet, 24) != cookie {
        return Err(Rejected::NotOurs);
    }
    let stratum = packet[1];
    if stratum == 0 {
        return Err(Rejected::Kiss(match &u32_at(packet, 12).to_be_bytes() {
            b"RATE" => Kiss::Rate,
            b"DENY" | b"RSTR" => Kiss::Deny,
            code => Kiss::Other(*code),
        }));
    }
    if leap == LEAP_UNSYNCHRONISED || stratum >= STRATUM_NONE {
        return Err(Rejected::Unsynchronised);
    }
    let (delay, dispersion) = (short_nanos(u32_at(packet, 4)), short_nanos(u32_at(packet, 8)));
    let root_distance = delay / 2 + dispersion;
    if root_distance > ROOT_DISTANCE_MAX {
        return Err(Rejected::Distant);
    }
    let (received, sent) = (Stamp(u64_at(packet, 32)), Stamp(u64_at(packet, 40)));
    if received.0 == 0 || sent.0 == 0 {
        return Err(Rejected::Nonsense);
    }
    Ok(Answer { stratum, root_distance, received, sent })
}

fn u32_at(packet: &[u8; PACKET_BYTES], place: usize) -> u32 {
    packet
        .get(place..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |word| u32::from_be_bytes(*word))
}

fn u64_at(packet: &[u8; PACKET_BYTES], place: usize) -> u64 {
    packet
        .get(place..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |word| u64::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE: u64 = 0x0123_4567_89ab_cdef;

    /// A good answer, as a server of stratum 2 gives it.
    fn good() -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[..4].copy_from_slice(&[0x24, 2, 6, 0xe9]);
        packet[4..8].copy_from_slice(&0x0000_0800_u32.to_be_bytes());
        packet[8..12].copy_from_slice(&0x0000_0400_u32.to_be_bytes());
        packet[24..32].copy_from_slice(&COOKIE.to_be_bytes());
        packet[32..40].copy_from_slice(&1000_u64.to_be_bytes());
        packet[40..48].copy_from_slice(&2000_u64.to_be_bytes());
        packet
    }

    fn changed(place: usize, bytes: &[u8]) -> Result<Answer, Rejected> {
        let mut packet = good();
        packet[place..place + bytes.len()].copy_from_slice(bytes);
        answer(&packet, COOKIE)
    }

    #[test]
    fn a_question_says_nothing_but_the_cookie() {
        let packet = question(COOKIE);
        assert_eq!(packet[0], 0x23);
        assert!(packet[1..40].iter().all(|byte| *byte == 0));
        assert_eq!(packet[40..], COOKIE.to_be_bytes());
    }

    #[test]
    fn a_good_answer_is_read() {
        let expected = Answer {
            stratum: 2,
            root_distance: 31_250_000,
            received: Stamp(1000),
            sent: Stamp(2000),
        };
        assert_eq!(answer(&good(), COOKIE), Ok(expected));
        let with_extension = [&good()[..], &[1; 20]].concat();
        assert_eq!(answer(&with_extension, COOKIE), Ok(expected));
    }

    #[test]
    fn each_flaw_is_refused() {
        assert_eq!(answer(&good()[..47], COOKIE), Err(Rejected::Short));
        assert_eq!(answer(&good(), COOKIE ^ 1), Err(Rejected::NotOurs));
        assert_eq!(changed(0, &[0x23]), Err(Rejected::NotAnAnswer));
        assert_eq!(changed(0, &[0x3c]), Err(Rejected::NotAnAnswer));
        assert_eq!(changed(0, &[0xe4]), Err(Rejected::Unsynchronised));
        assert_eq!(changed(1, &[16]), Err(Rejected::Unsynchronised));
        assert_eq!(changed(8, &[0, 2]), Err(Rejected::Distant));
        assert_eq!(changed(40, &[0; 8]), Err(Rejected::Nonsense));
    }

    #[test]
    fn kisses_are_told_apart_and_only_ours_count() {
        let kiss = |code: &[u8; 4]| {
            let mut packet = good();
            packet[0] = 0xe4;
            packet[1] = 0;
            packet[12..16].copy_from_slice(code);
            packet
        };
        let read = |code| answer(&kiss(code), COOKIE);
        assert_eq!(read(b"RATE"), Err(Rejected::Kiss(Kiss::Rate)));
        assert_eq!(read(b"DENY"), Err(Rejected::Kiss(Kiss::Deny)));
        assert_eq!(read(b"RSTR"), Err(Rejected::Kiss(Kiss::Deny)));
        assert_eq!(read(b"INIT"), Err(Rejected::Kiss(Kiss::Other(*b"INIT"))));
        assert_eq!(answer(&kiss(b"DENY"), 1), Err(Rejected::NotOurs));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), cookie: u64) {
            let _any = answer(&bytes, cookie);
        }

        #[test]
        fn nothing_counts_without_the_cookie(bytes in prop::collection::vec(any::<u8>(), 48..60)) {
            let theirs = u64::from_be_bytes(*bytes[24..].first_chunk().expect("eight bytes"));
            prop_assert!(answer(&bytes, theirs.wrapping_add(1)).is_err());
        }
    }
}
