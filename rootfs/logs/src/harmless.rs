//! Text of a stranger, made safe to show: on a terminal, in a file, in JSON.

use std::fmt::{self, Write};

/// Shows bytes as text in one line. What isn't UTF-8 becomes U+FFFD. A character that commands a
/// terminal, breaks the line or turns its direction is written as an escape: `\x1b`, `\u202e`. A
/// tab stays. The text has at most four times as many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Harmless<'a>(pub &'a [u8]);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                show(letter, out)?;
            }
            if !chunk.invalid().is_empty() {
                out.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

fn show(letter: char, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let code = u32::from(letter);
    match letter {
        '\t' => out.write_char(letter),
        _ if letter.is_control() => write!(out, "\\x{code:02x}"),
        // Line and paragraph separators; embeddings and overrides of the direction; the mark that
        // some programs take for a sign of byte order.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            write!(out, "\\u{code:04x}")
        }
        _ => out.write_char(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_commands_become_visible() {
        let shown = |bytes: &[u8]| Harmless(bytes).to_string();
        assert_eq!(shown("Grüße\tan €".as_bytes()), "Grüße\tan €");
        assert_eq!(shown(b"\x1b[2J\x07\r\0\x7f"), "\\x1b[2J\\x07\\x0d\\x00\\x7f");
        assert_eq!(shown("\u{9b}31m\u{85}".as_bytes()), "\\x9b31m\\x85");
        assert_eq!(shown("a\u{202e}b\u{2028}".as_bytes()), "a\\u202eb\\u2028");
        assert_eq!(shown(b"a\xffb\xe2\x82"), "a\u{fffd}b\u{fffd}");
    }
}
