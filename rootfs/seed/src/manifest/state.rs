//! A folder of the STATE partition: made at boot with its owner and mode, and shown elsewhere if a
//! program insists on its own path.
//!
//! ```toml
//! [[state]]
//! path = "/state/kubelet"
//! mode = "0750"
//! mount = "/var/lib/kubelet"
//! execute = true
//! ```

use serde::{Deserialize, Serialize};

use super::FileMode;
use super::template::root;
use crate::scalar::AbsolutePath;

/// Where the STATE partition is mounted.
pub const STATE_PATH: &str = "/state";

/// A folder that outlives a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFolder {
    /// Its path, below [`STATE_PATH`].
    pub path: AbsolutePath,
    /// Its permission bits.
    #[serde(default = "private")]
    pub mode: FileMode,
    /// Its owner, and by name its group.
    #[serde(default = "root")]
    pub user: String,
    /// Where else it shows, as a mount of its own. The image gets a folder to mount over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<AbsolutePath>,
    /// Programs may run from the mount. Nothing runs from [`STATE_PATH`] itself, so that what a
    /// service can write is not what the node executes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub execute: bool,
}

fn private() -> FileMode {
    FileMode::from_bits(0o700)
}

impl StateFolder {
    /// Whether it is one: another partition would not keep it.
    pub fn is_on_state(&self) -> bool {
        let below = self.path.as_str().strip_prefix(STATE_PATH);
        below.is_some_and(|rest| rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_below_the_mount_is_kept() {
        let read = |path: &str| {
            let text = serde_json::json!({ "path": path }).to_string();
            serde_json::from_str::<StateFolder>(&text)
        };
        let folder = |path: &str| read(path).expect("a folder");
        assert!(folder("/state/postgres").is_on_state());
        assert!(folder("/state/k3s/agent").is_on_state());
        for elsewhere in ["/state", "/states/x", "/var/lib"] {
            assert!(!folder(elsewhere).is_on_state(), "{elsewhere}");
        }
        for no_path in ["/state/", "/state//x", "/state/x/"] {
            assert!(read(no_path).is_err(), "{no_path}");
        }
        let plain = folder("/state/x");
        assert_eq!((plain.mode.bits(), plain.user.as_str()), (0o700, "root"));
        assert!(!plain.execute);
    }
}
