//! Keeps the node's clock: NTP that steps once and then slews.

fn main() {}
