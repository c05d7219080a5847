//! Sealing: the committed seed, to which the builder adds `[secrets]` on its way to a node.

use crate::problem::Problems;
use crate::section::{Secrets, Seed};

/// Why a seed was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The text has secrets of its own, and which of the two should win is not ours to guess.
    #[error("the seed already contains [secrets]: remove that table, or use the seed as it is")]
    AlreadySealed,
    /// The text with the secrets is no valid seed.
    #[error("the seed is not valid once its secrets are added:\n{0}")]
    Invalid(Problems),
}

/// The text of a seed with its `[secrets]` appended; comments and order stay as they were.
pub fn sealed(text: &str, secrets: &Secrets) -> Result<String, SealError> {
    if crate::parse("seed", text).is_ok_and(|seed| seed.secrets.is_some()) {
        return Err(SealError::AlreadySealed);
    }
    let gap = if text.ends_with('\n') { "\n" } else { "\n\n" };
    let sealed = format!(
        "{text}{gap}# Added by the builder. Never commit what follows.\n{}",
        secrets.to_toml()
    );
    match crate::parse("seed", &sealed) {
        Ok(_) => Ok(sealed),
        Err(problems) => Err(SealError::Invalid(problems)),
    }
}

impl Seed {
    /// The same seed without its secrets, for showing to people.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self { secrets: None, ..self.clone() }
    }
}
