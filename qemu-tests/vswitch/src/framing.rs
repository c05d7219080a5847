//! How QEMU packs frames into a stream: the length as four bytes, the most significant first, then
//! the frame.

use thiserror::Error;

/// The longest frame that is believed. QEMU's own limit is 68 KiB (a segmented packet of 64 KiB with
/// its headers); more means that the stream is not what we think it is.
pub const LONGEST_FRAME: usize = (64 << 10) + 4096;
const LENGTH_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    #[error("a frame of {0} bytes, more than {LONGEST_FRAME}: the other side is no QEMU stream")]
    TooLong(usize),
}

/// Puts a frame into the form of the stream.
pub fn pack(frame: &[u8], stream: &mut Vec<u8>) {
    // Longer ones were never taken in.
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    stream.extend(length.to_be_bytes());
    stream.extend(frame);
}

/// Takes a stream apart again, however its bytes arrive.
#[derive(Clone, Debug, Default)]
pub struct Unpacker {
    bytes: Vec<u8>,
    /// What of `bytes` was given out already.
    used: usize,
}

impl Unpacker {
    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn take(&mut self) -> Result<Option<&[u8]>, FramingError> {
        let rest = self.bytes.get(self.used..).unwrap_or_default();
        let Some(length) = rest.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST_FRAME {
            return Err(FramingError::TooLong(length));
        }
        if rest.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let start = self.used + LENGTH_BYTES;
        self.used = start + length;
        Ok(self.bytes.get(start..self.used))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..9),
            cut in 1_usize..40,
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                pack(frame, &mut stream);
            }
            let mut unpacker = Unpacker::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                unpacker.feed(piece);
                while let Some(frame) = unpacker.take().expect("short frames") {
                    seen.push(frame.to_vec());
                }
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn no_stream_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut unpacker = Unpacker::default();
            unpacker.feed(&bytes);
            while let Ok(Some(_)) = unpacker.take() {}
        }
    }

    #[test]
    fn a_length_that_no_frame_has_is_an_error() {
        let mut unpacker = Unpacker::default();
        unpacker.feed(&[0xff; 8]);
        assert_eq!(unpacker.take(), Err(FramingError::TooLong(0xffff_ffff)));
    }
}
