//! A file that is rendered from the seed when the node boots.

use serde::{Deserialize, Serialize};

use super::FileMode;
use crate::scalar::AbsolutePath;

/// A template and the file that it becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Where the node sees the file, such as `/etc/haproxy/haproxy.cfg`.
    pub path: AbsolutePath,
    /// The template's file, relative to the folder of templates.
    pub source: String,
    /// Permission bits of the file. What contains secrets wants `"0600"`.
    #[serde(default = "readable")]
    pub mode: FileMode,
    /// Owner.
    #[serde(default = "root")]
    pub user: String,
    /// Group; that of the owner if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The values that the template may use, as dotted keys such as `balancer.frontends`. Nothing
    /// else exists for it, so this list tells what a file depends on.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// The file is made only if this dotted key is set and not false or empty, such as
    /// `roles.balancer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

fn readable() -> FileMode {
    FileMode::from_bits(0o644)
}

pub(super) fn root() -> String {
    "root".to_owned()
}
