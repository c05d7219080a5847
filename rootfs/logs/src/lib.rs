//! PURE: what services say, as lines in bounded rings, and how log files are kept small.
