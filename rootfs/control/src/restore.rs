//! What a restore shall bring back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest label: a full backup's, a hyphen or underscore, and an incremental one's.
const MAX_LABEL_BYTES: usize = 40;

/// A restore from the backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// What it shall bring back.
    pub to: RestoreTo,
    /// The operator said that what was written later may be lost.
    pub accept_data_loss: bool,
}

/// How far a restore goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RestoreTo {
    /// The end of the archive.
    Latest,
    /// The last commit before this moment.
    Time {
        /// Milliseconds since 1970.
        unix_ms: u64,
    },
    /// A base backup, and nothing after it.
    Backup {
        /// Which.
        label: BackupLabel,
    },
}

/// The label of a base backup, as pgBackRest makes them: `20261120-115500F`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupLabel(String);

/// A text that no backup has as its label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no backup is called so: `nodectl pg backup list` shows labels, such as 20261120-115500F")]
pub struct BadLabel;

impl TryFrom<String> for BackupLabel {
    type Error = BadLabel;

    fn try_from(text: String) -> Result<Self, BadLabel> {
        let sound = |c: u8| c.is_ascii_digit() || b"-_FDI".contains(&c);
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let fits = text.len() <= MAX_LABEL_BYTES && text.bytes().all(sound);
        if begins && fits { Ok(Self(text)) } else { Err(BadLabel) }
    }
}

impl FromStr for BackupLabel {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        text.to_owned().try_into()
    }
}

impl From<BackupLabel> for String {
    fn from(label: BackupLabel) -> Self {
        label.0
    }
}

impl fmt::Display for BackupLabel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_plain() {
        for good in ["20261120-115500F", "20261120-115500F_20261121-115500D"] {
            assert!(good.parse::<BackupLabel>().is_ok(), "{good}");
        }
        for bad in ["", "-F", "latest", "../x", "20261120 F", &"1".repeat(41)] {
            assert!(bad.parse::<BackupLabel>().is_err(), "{bad}");
        }
    }
}
