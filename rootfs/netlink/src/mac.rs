//! Hardware addresses.

use std::fmt;

/// A hardware address of Ethernet's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Other kinds of hardware have addresses of other lengths, or of zeros only; those are none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 6]>::try_from(bytes).ok().filter(|bytes| *bytes != [0; 6]).map(Self)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(formatter, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}
