//! Takes out of a text what looks like a secret, before it goes into a bundle that leaves the site.
//!
//! Nothing of ours logs secrets, but programs of others may: a connection string with a password, a
//! token in a command line, a key that somebody printed. Better a word too many is hidden.

/// Values that follow one of these words and `=` or `:` are hidden.
const TELLING: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "authorization",
];
const HIDDEN: &str = "(not shown)";

/// The text without what looks like a secret.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----") {
            in_key = !line.contains("-----END ");
            shown.push_str(HIDDEN);
            shown.push('\n');
        } else if in_key {
            in_key = !line.contains("-----END ");
        } else {
            shown.push_str(&without_values(line));
        }
    }
    shown
}

fn without_values(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = next_value(rest) {
        shown.push_str(before);
        shown.push_str(HIDDEN);
        rest = after;
    }
    shown.push_str(rest);
    without_url_password(&shown)
}

/// Splits at the first telling word's value: what is before it, and what is after it.
fn next_value(line: &str) -> Option<(&str, &str)> {
    // Lower case of ASCII alone keeps every position.
    let lower = line.to_ascii_lowercase();
    let ends = TELLING.iter().filter_map(|word| value_after(&lower, word));
    let (start, end) = ends.min()?;
    Some((line.get(..start)?, line.get(end..)?))
}

/// Where the value after a word is, if it has one.
fn value_after(lower: &str, word: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let at = from + lower.get(from..)?.find(word)? + word.len();
        from = at;
        let rest = lower.get(at..)?;
        let unquoted = rest.trim_start_matches(['"', '\'', ' ', '_']);
        let Some(value) = unquoted.strip_prefix(['=', ':']) else { continue };
        let value = value.trim_start_matches([' ', '"', '\'']);
        let value = value.strip_prefix("bearer ").or(value.strip_prefix("basic ")).unwrap_or(value);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '&' | '}');
        let length = value.find(ends).unwrap_or(value.len());
        // What was hidden before stays as it is.
        if length > 0 && !HIDDEN.starts_with(value.get(..length)?) {
            let start = lower.len() - value.len();
            return Some((start, start + length));
        }
    }
}

/// `postgres://user:word@host` without the word.
fn without_url_password(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        rest = after;
        let authority = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''));
        let authority = after.get(..authority.unwrap_or(after.len())).unwrap_or_default();
        if let Some((login, host)) = authority.rsplit_once('@')
            && let Some((user, _)) = login.split_once(':')
        {
            shown.extend([user, ":", HIDDEN, "@", host]);
            rest = after.get(authority.len()..).unwrap_or_default();
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (line, shown) in [
            ("user=k3s password=hunter2 host=db", "user=k3s password=(not shown) host=db"),
            (r#"{"token": "abc", "x": 1}"#, r#"{"token": "(not shown)", "x": 1}"#),
            ("PGPASSWORD='a' run", "PGPASSWORD='(not shown)' run"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer (not shown)"),
            (
                "to postgres://k3s:pw@10.0.0.1:5432/db now",
                "to postgres://k3s:(not shown)@10.0.0.1:5432/db now",
            ),
            ("the token was read", "the token was read"),
            ("GET https://10.0.0.1:6443/healthz", "GET https://10.0.0.1:6443/healthz"),
            ("secret=a token=b", "secret=(not shown) token=(not shown)"),
        ] {
            assert_eq!(redacted(line), shown);
        }
    }

    #[test]
    fn a_private_key_is_hidden_whole() {
        let text = "a\n-----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY-----\nb\n";
        assert_eq!(redacted(text), "a\n(not shown)\nb\n");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(password|token|[=:'\" @/]|://|\\PC|\n){0,30}") {
            let _ = redacted(&text);
        }

        #[test]
        fn a_password_never_survives(word in "[A-Z0-9]{8,20}", mark in "[=:]", before in "[a-z ]{0,9}") {
            let shown = redacted(&format!("{before}password{mark}{word} after"));
            prop_assert!(!shown.contains(&word), "{}", shown);
            prop_assert!(shown.ends_with(" after"));
        }
    }
}
