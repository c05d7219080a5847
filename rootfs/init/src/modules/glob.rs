//! Patterns as `modules.alias` has them: what `fnmatch` without flags takes.
//!
//! `*` is any text, `?` any one byte, `[a-f0-9]` one byte of a set, `[!…]` one that is not in it, and
//! a backslash takes the meaning away from what follows. A bracket that is never closed is a plain
//! one. The matcher keeps one place to come back to (the last star), so its work is at most
//! pattern × text: no pattern of a hostile device makes PID 1 hang.

/// Whether `text` as a whole is what `pattern` describes.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut position) = (0, 0);
    // Behind the last star, and the byte of the text that it would swallow next.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let rest = pattern.get(at..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            at += 1;
            retry = Some((at, position));
            continue;
        }
        match (text.get(position), one(rest)) {
            (None, None) => return true,
            (Some(&byte), Some((token, length))) if token.takes(byte) => {
                at += length;
                position += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((star, swallowed)) if swallowed < text.len() => {
                (at, position) = (star, swallowed + 1);
                retry = Some((star, swallowed + 1));
            }
            _ => return false,
        }
    }
}

/// The part of a pattern that must stand in the text as it is.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default()
}

/// What takes exactly one byte of the text.
#[derive(Clone, Copy)]
enum Token<'p> {
    Any,
    Plain(u8),
    Set { inverted: bool, members: &'p [u8] },
}

/// The first token of a pattern that doesn't start with a star, and its length.
fn one(pattern: &[u8]) -> Option<(Token<'_>, usize)> {
    match pattern {
        [] => None,
        [b'?', ..] => Some((Token::Any, 1)),
        [b'\\', escaped, ..] => Some((Token::Plain(*escaped), 2)),
        [b'[', rest @ ..] => Some(set(rest).unwrap_or((Token::Plain(b'['), 1))),
        [plain, ..] => Some((Token::Plain(*plain), 1)),
    }
}

/// A set, read from behind its opening bracket. A closing bracket that comes first is a member.
fn set(pattern: &[u8]) -> Option<(Token<'_>, usize)> {
    let inverted = matches!(pattern.first(), Some(b'!' | b'^'));
    let start = usize::from(inverted);
    let searched = pattern.get(start + 1..)?;
    let end = start + 1 + searched.iter().position(|byte| *byte == b']')?;
    let members = pattern.get(start..end)?;
    // The opening bracket, and the closing one.
    Some((Token::Set { inverted, members }, end + 2))
}

impl Token<'_> {
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Plain(plain) => plain == byte,
            Self::Set { inverted, members } => is_member(members, byte) != inverted,
        }
    }
}

fn is_member(mut members: &[u8], byte: u8) -> bool {
    loop {
        members = match members {
            [] => return false,
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                rest
            }
            [plain, rest @ ..] => {
                if *plain == byte {
                    return true;
                }
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition itself, without any cleverness.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            ([], _) | (_, []) => false,
            (_, [byte, later @ ..]) => {
                let (token, length) = one(pattern).unwrap();
                token.takes(*byte) && naive(&pattern[length..], later)
            }
        }
    }

    #[test]
    fn patterns_of_real_drivers() {
        let device = "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00";
        assert!(matches("pci:v00008086d000010D3sv*sd*bc*sc*i*", device));
        assert!(!matches("pci:v00008086d000010D4sv*sd*bc*sc*i*", device));
        assert!(matches("pci:v*d*sv*sd*bc02sc00i*", device));
        assert!(matches("usb:v0B95p1790d0[1-3]*dc*", "usb:v0B95p1790d0200dc00"));
        assert!(!matches("usb:v0B95p1790d0[!1-3]*dc*", "usb:v0B95p1790d0200dc00"));
        assert!(matches("a[]x]b", "a]b") && matches("a[b", "a[b") && matches(r"\*", "*"));
        assert!(matches("*", "") && !matches("?", "") && matches("", "") && !matches("", "x"));
    }

    #[test]
    fn the_prefix_ends_at_the_first_special_sign() {
        assert_eq!(literal_prefix("pci:v00008086d*"), "pci:v00008086d");
        assert_eq!(literal_prefix("fs_ext4"), "fs_ext4");
        assert_eq!(literal_prefix("*"), "");
    }

    #[test]
    fn many_stars_against_a_long_text_end_soon() {
        // A matcher that remembers every star would still be at it when the sun goes out.
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
        assert!(!matches(&"a*".repeat(500), &"b".repeat(10_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*?\\[\\]!\\\\-]{0,8}", text in "[ab\\]-]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_text_that_matches_has_the_prefix(pattern in "[ab]{0,3}[ab*?]{0,4}", text in "[ab]{0,7}") {
            prop_assert!(!matches(&pattern, &text) || text.starts_with(literal_prefix(&pattern)));
        }

        #[test]
        fn no_input_panics(pattern in any::<String>(), text in any::<String>()) {
            let _either = matches(&pattern, &text);
            let _prefix = literal_prefix(&pattern);
        }
    }
}
