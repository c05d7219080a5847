//! Writes what services say to bounded files on the state partition.

fn main() {}
