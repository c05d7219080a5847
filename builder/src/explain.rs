//! An error as a person reads it: in one line, with all its causes.

use std::error::Error;

/// An error with all its causes; a cause that its effect already quotes is not said twice, and a
/// mirror's password not at all.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    without_logins(&text)
}

/// A text in whose addresses dots stand for user and password.
pub fn without_logins(text: &str) -> String {
    const SCHEME_END: &str = "://";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(SCHEME_END) {
        let (scheme, behind) = rest.split_at(at + SCHEME_END.len());
        shown.push_str(scheme);
        let end = behind.find(|next: char| next == '/' || next.is_whitespace());
        let place = &behind[..end.unwrap_or(behind.len())];
        // No user begins with a bracket, but a hint on how to write an address does.
        rest = match place.rfind('@') {
            Some(login_end) if !place.starts_with('[') => {
                shown.push_str("...");
                &behind[login_end..]
            }
            _ => behind,
        };
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("the disk is full")]
    struct Cause;

    #[derive(Debug, Error)]
    enum Effect {
        #[error("can't write a")]
        Silent(#[source] Cause),
        #[error("can't write b: {0}")]
        Quoting(#[source] Cause),
    }

    #[test]
    fn addresses_lose_their_logins_and_nothing_else() {
        let text = "http://me:secret@a.test/x@y and https://me@b.test, file:///c@d: http://e.test";
        let shown = "http://...@a.test/x@y and https://...@b.test, file:///c@d: http://e.test";
        assert_eq!(without_logins(text), shown);
        for same in ["a@b://", "write http://[USER:PASSWORD@]HOST:PORT"] {
            assert_eq!(without_logins(same), same);
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        assert_eq!(chain(&Effect::Silent(Cause)), "can't write a: the disk is full");
        assert_eq!(chain(&Effect::Quoting(Cause)), "can't write b: the disk is full");
    }
}
