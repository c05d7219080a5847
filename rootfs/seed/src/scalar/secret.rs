//! Texts that must not be seen: keys, tokens, passwords.
//!
//! A [`Secret`] prints and serialises as a placeholder. The only way to its text is
//! [`Secret::expose`], so every place that reveals one can be found by searching for that word.

use std::fmt;

use toml::de::DeValue;

use crate::problem::Wrong;
use crate::reader::{Item, Read, Reader};

/// What is shown in place of a secret.
pub const REDACTED: &str = "(redacted)";

/// The longest secret: a chain of several certificates.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Guards a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(REDACTED)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(REDACTED)
    }
}

impl Read for Secret {
    fn kind() -> String {
        "secret text".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let refuse = |why: &str| {
            Wrong::new(
                "a secret is a text that is not empty",
                why,
                "let `builder cluster new` make the secrets, or paste the text between quotes",
            )
        };
        let why = match item.value {
            DeValue::String(text) if text.trim().is_empty() => "is empty",
            DeValue::String(text) if text.len() > MAX_SECRET_BYTES => "is too long",
            DeValue::String(text) if text == REDACTED => "is the placeholder of a shown seed",
            DeValue::String(text) if text.contains('\0') => "contains a zero byte",
            DeValue::String(text) => return Some(Self(text.to_string())),
            _ => "is no text",
        };
        reader.report(&item.path, &item.span, refuse(why));
        None
    }
}
