//! What travels between a pair and its witness. Pure.
//!
//! ```text
//!  question  Ask::encode, ASK_BYTES
//!  reply     0, Answer::encode, ANSWER_BYTES
//!         or 1, length (1 byte), that many bytes of text: why there is no answer
//! ```
//!
//! Any number of questions, one after the other, on one connection. Every field is big-endian and
//! of fixed size; `failover` defines them.

use failover::{ANSWER_BYTES, Answer};

/// Longest text of a refusal.
const MAX_TEXT_BYTES: usize = 255;
/// Longest reply.
pub const MAX_REPLY_BYTES: usize = 2 + MAX_TEXT_BYTES;
const ANSWERED: u8 = 0;
const REFUSED: u8 = 1;

/// What the witness replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What stands in the register.
    Answer(Answer),
    /// Why there is no answer.
    Refused(String),
}

/// The bytes aren't a reply of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no reply of a witness")]
pub struct Strange;

impl Reply {
    /// The reply as bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Answer(answer) => [&[ANSWERED][..], &answer.encode()].concat(),
            Self::Refused(text) => {
                let end = text.floor_char_boundary(MAX_TEXT_BYTES.min(text.len()));
                let text = text.as_bytes().get(..end).unwrap_or_default();
                [&[REFUSED, u8::try_from(end).unwrap_or(0)][..], text].concat()
            }
        }
    }

    /// Reads a reply; none if bytes are missing. Nothing may follow it.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Strange> {
        match bytes {
            [] | [REFUSED] => Ok(None),
            [ANSWERED, rest @ ..] if rest.len() < ANSWER_BYTES => Ok(None),
            [ANSWERED, rest @ ..] => {
                Answer::decode(rest).map(Self::Answer).map(Some).ok_or(Strange)
            }
            [REFUSED, length, text @ ..] => match text.len().cmp(&usize::from(*length)) {
                std::cmp::Ordering::Less => Ok(None),
                std::cmp::Ordering::Greater => Err(Strange),
                std::cmp::Ordering::Equal => {
                    let text = std::str::from_utf8(text).map_err(|_| Strange)?;
                    Ok(Some(Self::Refused(text.to_owned())))
                }
            },
            _ => Err(Strange),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_survives_the_way() {
        let answer = Answer { cluster: 7, nonce: 8, incarnation: 9, config: None };
        let bytes = Reply::Answer(answer).encode();
        assert_eq!(Reply::decode(&bytes), Ok(Some(Reply::Answer(answer))));
        assert_eq!(Reply::decode(&bytes[..bytes.len() - 1]), Ok(None));
        assert_eq!(Reply::decode(&[&bytes[..], b"x"].concat()), Err(Strange));
        assert_eq!(Reply::decode(b"HTTP/1.1"), Err(Strange));
    }

    proptest! {
        #[test]
        fn a_refusal_survives_the_way_as_far_as_it_fits(text in "\\PC{0,300}") {
            let bytes = Reply::Refused(text.clone()).encode();
            prop_assert!(bytes.len() <= MAX_REPLY_BYTES);
            let Ok(Some(Reply::Refused(read))) = Reply::decode(&bytes) else { panic!() };
            prop_assert!(text.starts_with(&read));
            prop_assert!(read == text || read.len() > MAX_TEXT_BYTES - 4);
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _any = Reply::decode(&bytes);
        }
    }
}
