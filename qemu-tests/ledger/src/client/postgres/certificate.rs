//! The common name in a server's certificate, which is the node's name. Pure.
//!
//! The chain has been verified before; still no length is trusted. It is only used to say who
//! answered, so a certificate without a plain name simply has none.

const SEQUENCE: u8 = 0x30;
/// `[0]`, the version, which only the first version of certificates goes without.
const VERSION: u8 = 0xa0;
/// The object identifier 2.5.4.3 as it stands in a certificate.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// Serial number, algorithm, issuer and validity stand before the subject.
const FIELDS_BEFORE_SUBJECT: usize = 4;

/// The last common name of the certificate's subject.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _ in 0..FIELDS_BEFORE_SUBJECT {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, mut names, _) = element(fields)? else { return None };
    let mut found = None;
    while let Some((_, set, rest)) = element(names) {
        let (_, attribute, _) = element(set)?;
        if let Some(value) = attribute.strip_prefix(&COMMON_NAME) {
            found = std::str::from_utf8(element(value)?.1).ok().map(str::to_owned);
        }
        names = rest;
    }
    found
}

/// The kind and contents of an element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        0x81 | 0x82 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |all, digit| (all << 8) | usize::from(*digit)), bytes)
        }
        _ => return None,
    };
    let (contents, rest) = bytes.split_at_checked(length)?;
    Some((kind, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tlv(kind: u8, contents: &[u8]) -> Vec<u8> {
        [&[kind, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    fn name(text: &str) -> Vec<u8> {
        let attribute = [&COMMON_NAME[..], &tlv(0x0c, text.as_bytes())].concat();
        tlv(SEQUENCE, &tlv(0x31, &tlv(SEQUENCE, &attribute)))
    }

    #[test]
    fn the_subjects_name_is_found_and_not_the_issuers() {
        let version = tlv(VERSION, &[2, 1, 2]);
        let (serial, sequence) = (tlv(2, &[1]), tlv(SEQUENCE, &[]));
        let fields = [version, serial, sequence.clone(), name("the CA"), sequence, name("node1")];
        let certificate = tlv(SEQUENCE, &tlv(SEQUENCE, &fields.concat()));
        assert_eq!(common_name(&certificate).as_deref(), Some("node1"));
        assert_eq!(common_name(&certificate[..40]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _name = common_name(&bytes);
        }
    }
}
