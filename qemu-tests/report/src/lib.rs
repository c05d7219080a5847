//! What a drill leaves behind.
//!
//! ```text
//! DIR/
//!   index.html  junit.xml                     over all drills and runs
//!   vip_freeze_thaw-ipv4-17-1764275000/       one run
//!     timeline.html     what happened, at a glance; needs nothing but a browser
//!     verdict.json      the same as data: `Run`
//!     junit.xml         the same for CI
//!     history.jsonl     what clients did and were told
//!     consoles/*.log    by the rig
//!     *.pcapng          by the rig
//! ```
//!
//! [`run`] is the data, which the rig fills in. [`folder`] writes a run, [`index`] makes the page
//! over many. Pages are made of texts that come from guests, so everything is escaped in one place,
//! [`text`].

pub mod folder;
pub mod index;
pub mod junit;
pub mod run;
mod text;
mod timeline;

pub use folder::Folder;
pub use run::Run;
