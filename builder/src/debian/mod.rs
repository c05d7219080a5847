//! The Debian archive, read by ourselves: signed index, resolver, `.deb`, files.
