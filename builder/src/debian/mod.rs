//! The Debian archive, read by ourselves: signed index, resolver, `.deb`, files.
//!
//! ```text
//!  mirror, sources   where the archive may be
//!  archive           InRelease (openpgp, release) -> Packages (deb822, index)     verified
//!  resolve           wanted names -> packages (dependency, version)     <-> lock  pure
//!  store, download   .deb by hash into the cache (http, proxy)                    verified
//!  unpack            .deb (deb, tarball) -> files that the root tree can hold
//! ```
//!
//! The chain of trust: a key of the keyring signs `InRelease`, which names the SHA-256 of every
//! `Packages`, which names the SHA-256 of every `.deb`. Nothing is used before its link was
//! checked, no script of a package is ever run, and every loop and buffer is bounded, since all of
//! this comes from a network.

pub mod archive;
pub mod deb;
pub mod deb822;
pub mod dependency;
pub mod digest;
pub mod download;
pub mod http;
pub mod index;
pub mod lock;
mod lookup;
pub mod mirror;
pub mod openpgp;
pub mod package;
pub mod proxy;
pub mod release;
pub mod resolve;
pub mod sources;
pub mod store;
pub mod tarball;
pub mod unpack;
pub mod version;

pub use archive::{Archive, ArchiveRequest};
pub use digest::Digest;
pub use lock::Lock;
pub use package::Package;
pub use resolve::Resolution;
pub use store::{Network, Store};
pub use unpack::{PackageEntry, PackageFiles};
