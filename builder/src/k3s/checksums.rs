//! `sha256sum-ARCH.txt`: what the files of a release hash to.
//!
//! Read strictly. What is not exactly such a list is more likely a login page of a captive network,
//! or half a download, than a new format.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::debian::Digest;

/// The largest list that is read; those of K3s have about twenty lines.
pub(super) const MAX_BYTES: u64 = 64 * 1024;
/// Longest name of a file that a list may have.
const MAX_NAME_BYTES: usize = 255;
/// How much of a wrong line is shown.
const SHOWN_CHARACTERS: usize = 60;

/// The checksums of a release, by the name of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, Digest>);

/// Why a text is no list of checksums.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChecksumsError {
    /// Not text at all, or empty.
    #[error("it is empty or no text")]
    NoText,
    /// Longer than any list.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// A line that is none of `sha256sum`'s.
    #[error("line {number} is no checksum with a file's name: {line:?}")]
    Line { number: usize, line: String },
    /// Two lines contradict each other.
    #[error("line {number} gives {name} a second, other checksum")]
    Contradiction { number: usize, name: String },
}

impl Checksums {
    /// Reads the output of `sha256sum`: a digest, a space, a space or an asterisk, a name.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChecksumsError> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ChecksumsError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ChecksumsError::NoText)?;
        let mut entries = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let Some((digest, name)) = entry(line) else {
                let line = line.chars().take(SHOWN_CHARACTERS).collect();
                return Err(ChecksumsError::Line { number, line });
            };
            let old = entries.insert(name.to_owned(), digest);
            if old.is_some_and(|old| old != digest) {
                let name = name.to_owned();
                return Err(ChecksumsError::Contradiction { number, name });
            }
        }
        if entries.is_empty() {
            return Err(ChecksumsError::NoText);
        }
        Ok(Self(entries))
    }

    /// What the file of this name hashes to.
    pub fn of(&self, name: &str) -> Option<Digest> {
        self.0.get(name).copied()
    }
}

fn entry(line: &str) -> Option<(Digest, &str)> {
    let (digest, rest) = line.split_once(' ')?;
    let name = rest.strip_prefix([' ', '*'])?;
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    let sound = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(plain);
    Some((digest.parse().ok().filter(|_| sound)?, name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_read() {
        let digest = Digest::of(b"x");
        let text = format!("{digest}  k3s\n{digest} *k3s-airgap-images-amd64.tar.zst\n");
        let checksums = Checksums::parse(text.as_bytes()).expect("a list");
        assert_eq!(checksums.of("k3s"), Some(digest));
        assert_eq!(checksums.of("k3s-airgap-images-amd64.tar.zst"), Some(digest));
        assert_eq!(checksums.of("k3s-arm64"), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let digest = Digest::of(b"x");
        let bad = [
            "<html>Please log in</html>".to_owned(),
            format!("{digest}  "),
            format!("{digest}  ../k3s"),
            format!("{digest} k3s"),
            format!("{digest}\tk3s"),
            format!("{digest}  k3s\r"),
            format!("{digest}  k3s\n\n"),
            digest.to_string()[1..].to_owned() + "  k3s",
        ];
        for text in bad {
            let error = Checksums::parse(text.as_bytes());
            assert!(matches!(error, Err(ChecksumsError::Line { .. })), "{text:?}");
        }
        assert_eq!(Checksums::parse(b""), Err(ChecksumsError::NoText));
        assert_eq!(Checksums::parse(b"\xff\xfe"), Err(ChecksumsError::NoText));
    }

    #[test]
    fn a_contradiction_is_refused_and_a_repetition_is_not() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let twice = format!("{one}  k3s\n{one}  k3s\n");
        assert!(Checksums::parse(twice.as_bytes()).is_ok());
        let error = Checksums::parse(format!("{one}  k3s\n{two}  k3s\n").as_bytes());
        let name = "k3s".to_owned();
        assert_eq!(error, Err(ChecksumsError::Contradiction { number: 2, name }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Checksums::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            names in prop::collection::btree_map("[a-z0-9.-]{1,30}", any::<[u8; 4]>(), 1..10)
        ) {
            let line = |(name, seed): (&String, &[u8; 4])| format!("{}  {name}\n", Digest::of(seed));
            let text: String = names.iter().map(line).collect();
            let checksums = Checksums::parse(text.as_bytes()).expect("a list");
            for (name, seed) in &names {
                prop_assert_eq!(checksums.of(name), Some(Digest::of(seed)));
            }
        }
    }
}
