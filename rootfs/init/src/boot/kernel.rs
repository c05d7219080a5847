//! What the kernel must have before anything else: its filesystems, drivers and settings.

use std::fs;
use std::path::Path;

use crate::boot::Stage2Error;
use crate::modules::Modules;
use crate::mounts;
use crate::node::Node;
use crate::power::Buttons;
use crate::say;

pub(super) fn early_mounts(_: &mut Node) -> Result<(), Stage2Error> {
    Ok(mounts::make(mounts::RUNTIME)?)
}

/// A driver that can't be loaded is said; whatever needs it will fail with its own reason.
pub(super) fn load_modules(node: &mut Node) {
    match Modules::of_running_kernel() {
        Ok(modules) => {
            for name in &node.manifest.modules {
                if let Err(error) = modules.load(name) {
                    say!("{error}");
                }
            }
        }
        Err(error) => say!("{error}"),
    }
    node.buttons = Buttons::open(Path::new("/sys/class/input"), Path::new("/dev/input"));
}

pub(super) fn set_sysctls(node: &mut Node) {
    for (key, value) in &node.manifest.sysctls {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        if let Err(error) = fs::write(&path, value) {
            say!("sysctl {key}={value}: {error}");
        }
    }
}
