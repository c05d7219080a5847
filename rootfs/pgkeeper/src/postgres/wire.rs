//! As much of PostgreSQL's protocol as the keeper needs to ask simple questions. Pure.
//!
//! The server is ours and local; still nothing that it sends is trusted to be short or well formed.

use thiserror::Error;

/// The version of the protocol.
const VERSION: u32 = 3 << 16;
/// The keeper's questions have short answers.
pub(super) const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Rows of an answer: each value as text, or null.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// Something the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// It wants to know who we are; 0 means that it knows.
    Authentication(u32),
    /// Which process serves us.
    Process(i32),
    /// A row.
    Row(Vec<Option<String>>),
    /// An error: SQLSTATE and words.
    Error(String, String),
    /// It waits for a question.
    Ready,
    /// Anything else.
    Other,
}

/// Not the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no message of PostgreSQL")]
pub(super) struct Malformed;

/// The first packet of a connection.
pub(super) fn startup(user: &str, database: &str, application: &str) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    let words = ["user", user, "database", database, "application_name", application];
    for word in words {
        body.extend(word.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    framed(&[], &body)
}

/// A question.
pub(super) fn query(text: &str) -> Vec<u8> {
    let mut body: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    body.push(0);
    framed(b"Q", &body)
}

fn framed(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [kind, &length.to_be_bytes(), body].concat()
}

/// Takes the first whole message off; none if more bytes are needed.
pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Message>, Malformed> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(4..=MAX_MESSAGE_BYTES).contains(&length) {
        return Err(Malformed);
    }
    let Some(body) = rest.get(4..length) else { return Ok(None) };
    let message = read(*kind, body)?;
    bytes.drain(..=length);
    Ok(Some(message))
}

fn read(kind: u8, body: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader(body);
    Ok(match kind {
        b'R' => Message::Authentication(u32::from_be_bytes(reader.take()?)),
        b'K' => Message::Process(i32::from_be_bytes(reader.take()?)),
        b'D' => Message::Row(row(&mut reader)?),
        b'E' => {
            let (code, words) = error(&mut reader)?;
            Message::Error(code, words)
        }
        b'Z' => Message::Ready,
        _ => Message::Other,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = String::from_utf8_lossy(self.bytes(end)?).into_owned();
        self.bytes(1)?;
        Ok(text)
    }
}

fn row(reader: &mut Reader<'_>) -> Result<Vec<Option<String>>, Malformed> {
    let count = u16::from_be_bytes(reader.take()?);
    let value = |_| match i32::from_be_bytes(reader.take()?) {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| Malformed)?;
            Ok(Some(String::from_utf8_lossy(reader.bytes(length)?).into_owned()))
        }
    };
    (0..count).map(value).collect()
}

fn error(reader: &mut Reader<'_>) -> Result<(String, String), Malformed> {
    let (mut code, mut words) = (String::new(), String::new());
    loop {
        match reader.take::<1>()? {
            [0] => return Ok((code, words)),
            [b'C'] => code = reader.text()?,
            [b'M'] => words = reader.text()?,
            _ => {
                reader.text()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer() -> Vec<u8> {
        let row = [&[0, 2, 0, 0, 0, 2][..], b"17", &[0xff; 4]].concat();
        [
            framed(b"T", &[0, 0]),
            framed(b"D", &row),
            framed(b"E", b"SERROR\0C57P03\0Mnot yet\0\0"),
            framed(b"Z", b"I"),
        ]
        .concat()
    }

    #[test]
    fn a_question_is_framed_and_holds_no_zero_byte() {
        assert_eq!(query("se\0lect 1"), b"Q\0\0\0\x0dselect 1\0");
        let packet = startup("postgres", "kubernetes", "pgkeeper");
        assert_eq!(usize::from(packet[3]), packet.len());
        assert!(packet.ends_with(b"application_name\0pgkeeper\0\0"));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        assert_eq!(take(&mut b"Z\0\0\0\x03".to_vec()), Err(Malformed));
        assert_eq!(take(&mut b"Z\xff\0\0\x05I".to_vec()), Err(Malformed));
        assert_eq!(take(&mut framed(b"D", &[0, 1, 0, 0, 0, 9])), Err(Malformed));
    }

    proptest! {
        #[test]
        fn an_answer_is_read_however_it_is_cut(cuts in prop::collection::vec(1_usize..9, 1..40)) {
            let (bytes, mut buffer, mut got) = (answer(), Vec::new(), Vec::new());
            let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                buffer.extend(head);
                rest = tail;
                while let Some(message) = take(&mut buffer).unwrap() {
                    got.push(message);
                }
            }
            let row = Message::Row(vec![Some("17".to_owned()), None]);
            let error = Message::Error("57P03".to_owned(), "not yet".to_owned());
            prop_assert_eq!(got, [Message::Other, row, error, Message::Ready]);
        }

        #[test]
        fn no_input_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            while let Ok(Some(_)) = take(&mut bytes) {}
        }
    }
}
