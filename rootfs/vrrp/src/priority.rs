//! The priority with which a router takes part in the election: 1 to 255, never 0.
//!
//! Zero is a message ("I stop being Active"), not a priority to be configured. Keeping it out of
//! this type keeps it out of the election's comparisons.

use std::num::NonZeroU8;

/// A router's standing in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// The router that owns the virtual addresses as its real ones.
    pub const OWNER: Self = Self(NonZeroU8::MAX);
    /// What both RFCs give to a router that was configured with no priority.
    pub const DEFAULT: Self = Self(NonZeroU8::new(100).expect("100 is not zero"));

    /// None for zero, the priority of resignation.
    pub fn new(priority: u8) -> Option<Self> {
        NonZeroU8::new(priority).map(Self)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// Whether this is the owner, which preempts whatever its configuration says.
    pub fn is_owner(self) -> bool {
        self == Self::OWNER
    }
}
