//! The operator's command, on the node and from afar.

fn main() {}
