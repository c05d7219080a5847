//! Base64, as MIME parts and the kernel's command line carry a seed.

/// Decodes base64 with line breaks; `None` if it is broken.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let characters: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !characters.len().is_multiple_of(4) {
        return None;
    }
    let padding = characters.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(characters.len() / 4 * 3);
    let digits = &characters[..characters.len() - padding];
    for group in digits.chunks(4) {
        let mut bits: u32 = 0;
        for character in group {
            let digit = ALPHABET.iter().position(|known| known == character)?;
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        let [_, first, second, third] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        let kept = [first, second, third];
        bytes.extend_from_slice(&kept[..group.len() * 6 / 8]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_read_and_broken_ones_refused() {
        assert_eq!(decode("").as_deref(), Some(&b""[..]));
        assert_eq!(decode("Zg==").as_deref(), Some(&b"f"[..]));
        assert_eq!(decode("Zm8=").as_deref(), Some(&b"fo"[..]));
        assert_eq!(decode("Zm9v\nYmFy").as_deref(), Some(&b"foobar"[..]));
        for broken in ["Zg", "Zg=", "Z===", "Zm9v!mFy", "=Zg="] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }
}
