//! The version of the schema, so that an old node says what is the matter with a newer seed.

use crate::problem::Wrong;
use crate::reader::{Item, Read, Reader, number_of};

/// The one version of the schema that this crate reads.
pub const FORMAT: u32 = 1;

/// Proof that a seed is written for this version of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Format(u32);

impl Format {
    /// The version's number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Read for Format {
    fn kind() -> String {
        format!("{FORMAT}")
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let version = number_of(item, "seed format", 1, i64::from(u32::MAX), reader)?;
        if version == i64::from(FORMAT) {
            return Some(Self(FORMAT));
        }
        let wrong = Wrong::new(
            format!("this seed is made for a newer image; this one reads format {FORMAT}"),
            format!("format {version} is not known here"),
            format!(
                "use an image that reads format {version}, or write the seed in format {FORMAT}"
            ),
        );
        reader.report(&item.path, &item.span, wrong);
        None
    }

    fn stand_in() -> Option<Self> {
        Some(Self(FORMAT))
    }
}
