//! Takes out of a text what looks like a secret, before it goes into a bundle that leaves the site.
//!
//! Nothing of ours logs secrets, but programs of others may: a connection string with a password, a
//! token in a command line, a key that somebody printed. Better a word too many is hidden.

/// Values that follow one of these words and `=` or `:` are hidden, and those that follow an option of a
/// command line, such as `--agent-token`, and a blank or a comma between quotes.
const TELLING: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "access_key",
    "access-key",
    "authorization",
];
/// SQL has a blank between such a word and its value in quotes.
const PASSWORD: [&str; 3] = ["password", "passwd", "passphrase"];
const HIDDEN: &str = "(not shown)";

/// A private key has fewer lines. One whose end was lost, as in a log that was cut, doesn't take all
/// that follows with it.
const KEY_LINES: usize = 100;
const ENDLESS_KEY: &str = "(a private key without its end: shown again from here)\n";

/// The text without what looks like a secret.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    // How many more lines may be those of a private key.
    let mut key_lines: usize = 0;
    for line in text.split_inclusive('\n') {
        // Of several on one line, as where two files were joined, the last one tells.
        let ends = line.rfind("-----END ") > line.rfind("-----BEGIN ");
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----") {
            key_lines = if ends { 0 } else { KEY_LINES };
            shown.push_str(HIDDEN);
            shown.push('\n');
        } else if key_lines > 0 {
            key_lines = if ends { 0 } else { key_lines - 1 };
            if key_lines == 0 && !ends {
                shown.push_str(ENDLESS_KEY);
            }
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
        let at = from + lower.get(from..)?.find(word)?;
        from = at + word.len();
        let Some(text) = separated(lower.get(..at)?, word, lower.get(from..)?) else { continue };
        let (value, length) = value_of(text);
        // What was hidden before stays as it is.
        if length > 0 && !value.starts_with(HIDDEN) {
            let start = lower.len() - value.len();
            return Some((start, start + length));
        }
    }
}

/// What follows `=` or `:` after a telling word; after an option of a command line a blank is enough,
/// and a comma where options are a list of strings.
fn separated<'a>(before: &str, word: &str, after: &'a str) -> Option<&'a str> {
    let unquoted = after.trim_start_matches(['"', '\'', '\\', ' ', '_']);
    if let Some(value) = unquoted.strip_prefix(['=', ':']) {
        return Some(value);
    }
    let ended = after.trim_start_matches(['"', '\'', '\\']);
    let is_quoted = ended.len() < after.len();
    let between = |c: char| matches!(c, ' ' | '\t') || (is_quoted && c == ',');
    let value = ended.trim_start_matches(between);
    let is_apart = value.len() < ended.len();
    let is_literal = PASSWORD.contains(&word) && value.starts_with(['"', '\'']);
    (is_apart && (is_option(before) || is_literal)).then_some(value)
}

/// Whether the word that goes on behind this text began with `--`.
fn is_option(before: &str) -> bool {
    let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let start = before.trim_end_matches(of_word).len();
    before.get(start..).is_some_and(|word| word.starts_with("--"))
}

/// What a text begins with, from the value itself on, and how long the value is.
fn value_of(text: &str) -> (&str, usize) {
    let text = unwrapped(text.trim_start_matches([' ', '\t']));
    let Some((quote, escapes)) = quote_of(text) else {
        let value = without_kind(text);
        return (value, bare_length(value));
    };
    let mut value = without_kind(text.get(escapes + 1..).unwrap_or_default());
    if quoted_length(value, quote, escapes) == 0 {
        // Either there is nothing between the quotes, or they are several in a row, as in TOML.
        value = value.trim_start_matches(['"', '\'', '\\']);
        if value.starts_with(ends_bare) {
            return (value, 0);
        }
    }
    (value, quoted_length(value, quote, escapes))
}

/// A text without what languages put around values: brackets, `Some(`, a letter before a quote.
fn unwrapped(text: &str) -> &str {
    let mut text = text;
    while !text.starts_with(HIDDEN) {
        let inner = text.trim_start_matches(['[', '(']);
        let inner = inner.strip_prefix("some(").unwrap_or(inner);
        let before_quote = inner.strip_prefix(['b', 'e', 'r']);
        let inner = before_quote.filter(|rest| rest.starts_with(['"', '\''])).unwrap_or(inner);
        if inner.len() == text.len() {
            break;
        }
        text = inner;
    }
    text
}

/// The quote that a text begins with, and how many backslashes are before it.
fn quote_of(text: &str) -> Option<(char, usize)> {
    let unescaped = text.trim_start_matches('\\');
    let quote = unescaped.chars().next().filter(|c| matches!(*c, '"' | '\''))?;
    Some((quote, text.len() - unescaped.len()))
}

/// A value without the word that says what kind of authorization it is.
fn without_kind(value: &str) -> &str {
    let kinds = ["bearer ", "basic ", "token "];
    let after = kinds.iter().find_map(|kind| value.strip_prefix(kind));
    after.map_or(value, |after| after.trim_start_matches(' '))
}

/// What ends a value without quotes.
fn ends_bare(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '&' | '}')
}

/// How long a value without quotes is. Backslashes before a quote belong to the quote.
fn bare_length(value: &str) -> usize {
    let length = value.find(ends_bare).unwrap_or(value.len());
    match value.split_at_checked(length) {
        Some((bare, rest)) if rest.starts_with(['"', '\'']) => without_escapes(bare).len(),
        _ => length,
    }
}

/// How long a value in quotes is. The quote that ends it has no more backslashes before it than the
/// one that began it; with more of them it is a part of the value. Without an end, all is the value.
fn quoted_length(value: &str, quote: char, escapes: usize) -> usize {
    let before = |(at, _): (usize, &str)| value.get(..at).unwrap_or_default();
    let ends = |before: &&str| before.len() - without_escapes(before).len() <= escapes;
    let whole = value.match_indices(quote).map(before).find(ends);
    whole.map_or_else(|| value.trim_end_matches(['\r', '\n']), without_escapes).len()
}

fn without_escapes(text: &str) -> &str {
    text.trim_end_matches('\\')
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
    fn an_option_has_its_value_behind_a_blank() {
        for (line, shown) in [
            ("k3s agent --token K10abc --debug", "k3s agent --token (not shown) --debug"),
            ("--agent-token  K10abc", "--agent-token  (not shown)"),
            ("x '--Token' 'K10 abc' y", "x '--Token' '(not shown)' y"),
            ("--api-key \tabc", "--api-key \t(not shown)"),
            ("--token=K10abc -v", "--token=(not shown) -v"),
            ("--token-file /etc/token", "--token-file /etc/token"),
            ("run --token\n", "run --token\n"),
            ("a -- token was read", "a -- token was read"),
            ("no--token was read", "no--token was read"),
            (r#"args=["--token", "K10abc"]"#, r#"args=["--token", "(not shown)"]"#),
        ] {
            assert_eq!(redacted(line), shown);
        }
    }

    #[test]
    fn a_quoted_value_ends_at_its_quote() {
        for (line, shown) in [
            (r#"password="correct horse" x"#, r#"password="(not shown)" x"#),
            ("password='correct, \"horse' x", "password='(not shown)' x"),
            (r#"password="a \"b\" c" x"#, r#"password="(not shown)" x"#),
            (r#"msg="x {\"token\":\"abc\"}" y"#, r#"msg="x {\"token\":\"(not shown)\"}" y"#),
            (r#"msg="{\"token\": \"a b\\\"c\"}" y"#, r#"msg="{\"token\": \"(not shown)\"}" y"#),
            (r#"msg="{\"token\":\"abc" y"#, r#"msg="{\"token\":\"(not shown)" y"#),
            (r#"msg="token=abc\" x" y"#, r#"msg="token=(not shown)\" x" y"#),
            (r"password=\a\b c", "password=(not shown) c"),
            ("password=\"correct horse\n", "password=\"(not shown)\n"),
            (r#"{"token":"","x":"y"}"#, r#"{"token":"","x":"y"}"#),
            (r#"token="""correct horse""""#, r#"token="""(not shown)""""#),
            (r#""authorization":"Bearer a b","#, r#""authorization":"Bearer (not shown)","#),
        ] {
            assert_eq!(redacted(line), shown);
        }
    }

    #[test]
    fn a_value_is_found_in_what_languages_put_around_it() {
        for (line, shown) in [
            (r#"password: Some("hunter2") x"#, r#"password: Some("(not shown)") x"#),
            (r#""token":["abc"] x"#, r#""token":["(not shown)"] x"#),
            ("map[Authorization:[Bearer abc]] x", "map[Authorization:[Bearer (not shown) x"),
            ("password=b'abc' x", "password=b'(not shown)' x"),
            (r#"password=("abc") x"#, r#"password=("(not shown)") x"#),
            ("Authorization: Token abc x", "Authorization: Token (not shown) x"),
            ("Authorization: Bearer  abc x", "Authorization: Bearer  (not shown) x"),
            ("ALTER ROLE app PASSWORD 'hun ter2';", "ALTER ROLE app PASSWORD '(not shown)';"),
            (r#"secret "example" not found"#, r#"secret "example" not found"#),
            ("password=(not shown) x", "password=(not shown) x"),
            ("?password=&x=1", "?password=&x=1"),
        ] {
            assert_eq!(redacted(line), shown);
        }
    }

    #[test]
    fn a_private_key_behind_another_files_end_is_hidden() {
        let text = "-----END CERTIFICATE----------BEGIN PRIVATE KEY-----\nMIGH\n";
        let text = format!("{text}-----END PRIVATE KEY-----\nb\n");
        assert_eq!(redacted(&text), "(not shown)\nb\n");
    }

    #[test]
    fn a_private_key_is_hidden_whole() {
        let text = "a\n-----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY-----\nb\n";
        assert_eq!(redacted(text), "a\n(not shown)\nb\n");
    }

    #[test]
    fn a_private_key_without_its_end_hides_not_all_that_follows() {
        let text = format!("-----BEGIN RSA PRIVATE KEY-----\n{}b\n", "MIGH\n".repeat(KEY_LINES));
        assert_eq!(redacted(&text), format!("(not shown)\n{ENDLESS_KEY}b\n"));
        let short = "-----BEGIN PRIVATE KEY-----\nMIGH\n";
        assert_eq!(redacted(short), "(not shown)\n");
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

        #[test]
        fn a_quoted_password_never_survives(
            word in "[A-Z0-9]{4,9}",
            more in "[A-Z0-9]{4,9}",
            quote in r#"\\{0,3}["']"#,
        ) {
            let shown = redacted(&format!("x password={quote}{word} {more}{quote} after"));
            prop_assert!(!shown.contains(&word) && !shown.contains(&more), "{}", shown);
            let end = format!("{quote} after");
            prop_assert!(shown.ends_with(&end), "{}", shown);
        }

        #[test]
        fn the_value_of_an_option_never_survives(
            word in "[A-Z0-9]{8,20}",
            option in "--([a-z]{1,5}-)?(token|password|secret)",
        ) {
            let shown = redacted(&format!("run {option} {word} after"));
            prop_assert!(!shown.contains(&word), "{}", shown);
            prop_assert!(shown.ends_with(" after"), "{}", shown);
        }
    }
}
