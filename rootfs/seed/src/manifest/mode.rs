//! The permission bits of a file, written in octal as everybody does.

use std::fmt;
use std::str::FromStr;

use crate::problem::Wrong;
use crate::reader::text_value;

/// Permission bits such as `"0644"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileMode(u32);

impl FileMode {
    /// The bits, without the file's type.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The mode with these bits; bits beyond 07777 are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0o7777)
    }
}

impl FromStr for FileMode {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(Wrong::new(
                "a file's mode has three or four octal digits",
                "is no such mode",
                "write it like \"0644\", or \"0600\" for what only its owner may read",
            )),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o}", self.0)
    }
}

text_value!(FileMode, "file mode");
