//! The common name of a certificate. Pure.
//!
//! The chain has been verified when this is asked, so the bytes are what the cluster's CA signed.
//! Still nothing here trusts a length. A certificate with no common name or with two has none: who
//! it is must not depend on which one a reader takes.
//!
//! ```text
//! Certificate { tbs { [0] version?, serial, algorithm, issuer, validity, SUBJECT, … } … }
//! SUBJECT     { SET { SEQUENCE { OID, text } … } … }
//! ```

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xa0;
/// `UTF8String`, `PrintableString`, `IA5String`: those that are UTF-8 as they stand.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// Serial number, algorithm, issuer and validity stand before the subject.
const FIELDS_BEFORE_SUBJECT: usize = 4;

/// The one common name of a certificate (DER).
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = any(fields)?.2;
    }
    for _ in 0..FIELDS_BEFORE_SUBJECT {
        fields = any(fields)?.2;
    }
    let (mut subject, _) = element(fields, SEQUENCE)?;
    let mut found = None;
    while !subject.is_empty() {
        let (mut attributes, rest) = element(subject, SET)?;
        subject = rest;
        while !attributes.is_empty() {
            let (attribute, rest) = element(attributes, SEQUENCE)?;
            attributes = rest;
            let (kind, value) = element(attribute, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME && found.replace(text(value)?).is_some() {
                return None;
            }
        }
    }
    found
}

fn text(value: &[u8]) -> Option<String> {
    let (tag, text, _) = any(value)?;
    let sound = TEXTS.contains(&tag) && !text.is_empty() && !text.contains(&0);
    sound.then(|| std::str::from_utf8(text).ok().map(str::to_owned)).flatten()
}

/// The contents of an element of this kind, and what follows it.
fn element(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, contents, rest) = any(bytes)?;
    (tag == wanted).then_some((contents, rest))
}

/// The kind and contents of an element, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        0x81..=0x84 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0_u64, |all, digit| (all << 8) | u64::from(*digit));
            (usize::try_from(length).ok()?, bytes)
        }
        _ => return None,
    };
    let (contents, rest) = bytes.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["host".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_found_among_others() {
        let names = [
            (DnType::OrganizationName, DnValue::Utf8String("plant".to_owned())),
            (DnType::CommonName, DnValue::Utf8String("k3s-\u{e9}".to_owned())),
        ];
        assert_eq!(common_name(&certificate(&names)).as_deref(), Some("k3s-\u{e9}"));
        assert_eq!(common_name(&certificate(&names[..1])), None);
        assert_eq!(common_name(&certificate(&[])), None);
    }

    #[test]
    fn a_name_with_a_zero_is_none() {
        let names = [(DnType::CommonName, DnValue::Utf8String("k3s\0.evil".to_owned()))];
        assert_eq!(common_name(&certificate(&names)), None);
    }

    #[test]
    fn two_names_are_none() {
        let attribute = |name: &[u8]| {
            let size = u8::try_from(name.len()).unwrap();
            let inner = [&[6, 3, 0x55, 4, 3, 0x0c, size][..], name].concat();
            let inner_size = u8::try_from(inner.len()).unwrap();
            [&[SET, inner_size + 2, SEQUENCE, inner_size][..], &inner].concat()
        };
        let wrap =
            |inner: &[u8]| [&[SEQUENCE, u8::try_from(inner.len()).unwrap()][..], inner].concat();
        let build = |subject: &[u8]| {
            let before = [2, 1, 1, SEQUENCE, 0, SEQUENCE, 0, SEQUENCE, 0];
            wrap(&wrap(&[&before[..], &wrap(subject)].concat()))
        };
        assert_eq!(common_name(&build(&attribute(b"one"))).as_deref(), Some("one"));
        let two = [attribute(b"one"), attribute(b"two")].concat();
        assert_eq!(common_name(&build(&two)), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _any = common_name(&bytes);
        }

        #[test]
        fn a_damaged_certificate_does_not_panic(at in 0_usize..500, bit in 0_u8..8, end in 0_usize..500) {
            let names = [(DnType::CommonName, DnValue::Utf8String("k3s".to_owned()))];
            let mut bytes = certificate(&names);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
            bytes.truncate(end);
            let _any = common_name(&bytes);
        }
    }
}
