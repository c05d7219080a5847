//! The K3s release that goes into an image: its binary and its air-gap images.
//!
//! K3s is no Debian package, so it comes from a release: two large files and a list of their
//! checksums. They are downloaded once into the builder's cache, or a person brings them from a
//! machine that can reach the release and gives them with `--k3s PATH`. Either way every byte is
//! checked against the release's list, and the first build's checksums can be locked, so that a
//! release that changes later is noticed.
//!
//! ```text
//! overlay.toml: version, base URL ──> Release ──> three addresses
//!                                                   │
//!  cache/k3s/<version>/sha256sum-amd64.txt  <───────┤  small, by name
//!  cache/blobs/sha256/…                     <───────┘  binary and images, by content
//! ```

mod checksums;
mod error;
mod given;
mod obtain;
mod release;

pub use checksums::{Checksums, ChecksumsError};
pub use error::K3sError;
pub(crate) use given::digest_of;
pub use obtain::{K3sFiles, LockedArtifact, obtain};
pub use release::{Release, ReleaseError};
