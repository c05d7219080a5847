//! The bytes of netlink: messages and attributes, written and read.
//!
//! A request is a header, a fixed part that its kind dictates, and attributes; each attribute is a
//! length, a kind and a value, padded to four bytes, and may hold attributes itself. An answer is
//! one datagram with several messages. Numbers are in the machine's own byte order, since kernel
//! and program share the machine.
//!
//! Reading believes no length: whatever doesn't fit is [`Garbled`], never a panic and never a read
//! beyond the datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Length, kind, flags, sequence number, port.
const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Everything in netlink starts at a multiple of this.
const ALIGNMENT: usize = 4;
/// The two upper bits of an attribute's kind are marks, not part of the number.
const KIND_MASK: u16 = 0x3fff;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// The kernel, or whoever spoke in its name, sent something that is no netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an answer of the kernel makes no sense: {what}")]
pub struct Garbled {
    what: &'static str,
}

pub(crate) const fn garbled(what: &'static str) -> Garbled {
    Garbled { what }
}

const fn padded(length: usize) -> usize {
    length.div_ceil(ALIGNMENT) * ALIGNMENT
}

/// A message in the making.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A message of a kind; `fixed` is the part that the kind dictates.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // The sequence number follows when the message is sent; port 0 is the kernel's to fill.
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        bytes.resize(padded(bytes.len()), 0);
        Self { bytes }
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        // No value that this crate writes comes near the limit; one that did would be refused by
        // the kernel, since its length then disagrees with the message's.
        let length = u16::try_from(ATTRIBUTE_HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(crate) fn u16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// Text, ended by a zero as the kernel wants names.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    pub(crate) fn ip(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(v4) => self.bytes(kind, &v4.octets()),
            IpAddr::V6(v6) => self.bytes(kind, &v6.octets()),
        }
    }

    /// An attribute that holds what `fill` writes, after `fixed`.
    pub(crate) fn nest(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Self)) {
        let mut inner = Self { bytes: fixed.to_vec() };
        fill(&mut inner);
        self.bytes(kind | NESTED, &inner.bytes);
    }

    /// The whole message with its length and sequence number.
    pub(crate) fn finish(&self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        let mut bytes = Vec::with_capacity(self.bytes.len());
        bytes.extend(length);
        bytes.extend(self.bytes.iter().skip(4).take(4));
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(self.bytes.iter().skip(12));
        bytes
    }
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram, in order. Ends after the first one that makes no sense.
#[derive(Debug)]
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    fn read(&mut self) -> Result<Message<'a>, Garbled> {
        let whole = self.rest;
        let length = usize::try_from(u32_at(whole, 0)?).unwrap_or(usize::MAX);
        let body = whole.get(HEADER_BYTES..length).ok_or(garbled("a message's length"))?;
        self.rest = whole.get(padded(length)..).unwrap_or_default();
        Ok(Message {
            kind: u16_at(whole, 4)?,
            flags: u16_at(whole, 6)?,
            sequence: u32_at(whole, 8)?,
            body,
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

/// The attributes of a message or of an attribute. Ends after the first that makes no sense.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The attributes that follow the `fixed` first bytes of a message.
    pub(crate) fn after(body: &'a [u8], fixed: usize) -> Self {
        Self { rest: body.get(padded(fixed)..).unwrap_or_default() }
    }

    fn read(&mut self) -> Result<Attribute<'a>, Garbled> {
        let whole = self.rest;
        let length = usize::from(u16_at(whole, 0)?);
        let kind = u16_at(whole, 2)? & KIND_MASK;
        let value =
            whole.get(ATTRIBUTE_HEADER_BYTES..length).ok_or(garbled("an attribute's length"))?;
        self.rest = whole.get(padded(length)..).unwrap_or_default();
        Ok(Attribute { kind, value })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

impl Attribute<'_> {
    pub(crate) fn u8(&self) -> Result<u8, Garbled> {
        self.value.first().copied().ok_or(garbled("an empty number"))
    }

    pub(crate) fn u16(&self) -> Result<u16, Garbled> {
        u16_at(self.value, 0)
    }

    pub(crate) fn u32(&self) -> Result<u32, Garbled> {
        u32_at(self.value, 0)
    }

    /// Text up to its first zero; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(self.value.get(..end).unwrap_or_default()).into_owned()
    }

    pub(crate) fn ip(&self) -> Result<IpAddr, Garbled> {
        ip(self.value)
    }
}

/// An address from its four or sixteen bytes.
pub(crate) fn ip(bytes: &[u8]) -> Result<IpAddr, Garbled> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| garbled("an address's length"))?;
    Ok(Ipv6Addr::from(sixteen).into())
}

/// The bytes of an array at a place.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Garbled> {
    let end = at.checked_add(N).ok_or(garbled("a place beyond all bytes"))?;
    let found = bytes.get(at..end).ok_or(garbled("too short"))?;
    <[u8; N]>::try_from(found).map_err(|_| garbled("too short"))
}

pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Result<u8, Garbled> {
    bytes.get(at).copied().ok_or(garbled("too short"))
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Garbled> {
    Ok(u16::from_ne_bytes(array_at(bytes, at)?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Garbled> {
    Ok(u32::from_ne_bytes(array_at(bytes, at)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut request = Request::new(16, 5, &[1, 2, 3, 4]);
        request.text(3, "lan");
        request.nest(18, &[], |inner| inner.u16(1, 42));
        let bytes = request.finish(7);
        let message = Messages::of(&bytes).next().expect("one").expect("sound");
        assert_eq!((message.kind, message.flags, message.sequence), (16, 5, 7));
        let read: Vec<_> =
            Attributes::after(message.body, 4).map(|one| one.expect("sound")).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].text()), (3, "lan".to_owned()));
        let inner = Attributes::of(read[1].value).next().expect("one").expect("sound");
        assert_eq!((inner.kind, inner.u16()), (1, Ok(42)));
    }

    #[test]
    fn a_length_beyond_the_datagram_is_garbled_and_ends_it() {
        let mut bytes = Request::new(16, 0, &[]).finish(1);
        bytes[0] = 200;
        let read: Vec<_> = Messages::of(&bytes).collect();
        assert!(matches!(read.as_slice(), [Err(_)]), "{read:?}");
        // A length of zero would never advance.
        let read: Vec<_> = Attributes::of(&[0, 0, 0, 0, 9, 9, 9, 9]).collect();
        assert!(matches!(read.as_slice(), [Err(_)]), "{read:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_run_forever(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let most = bytes.len();
            prop_assert!(Messages::of(&bytes).count() <= most);
            prop_assert!(Attributes::of(&bytes).count() <= most);
        }

        #[test]
        fn attributes_come_back(values in proptest::collection::vec(
            (0_u16..0x4000, proptest::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut request = Request::new(1, 0, &[]);
            for (kind, value) in &values {
                request.bytes(*kind, value);
            }
            let bytes = request.finish(1);
            let message = Messages::of(&bytes).next().expect("one").expect("sound");
            let read: Vec<_> = Attributes::of(message.body)
                .map(|one| one.map(|one| (one.kind, one.value.to_vec())).expect("sound")).collect();
            prop_assert_eq!(read, values);
        }
    }
}
