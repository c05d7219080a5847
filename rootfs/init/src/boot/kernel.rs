//! What the kernel must have before anything else: its filesystems, drivers and settings.

use std::fs;
use std::path::Path;

use crate::boot::Stage2Error;
use crate::devices::Devices;
use crate::modules::Modules;
use crate::mounts;
use crate::node::Node;
use crate::power::Buttons;
use crate::say;

/// The kernel looks at drives with a slot for media this often, and says when a card came.
const MEDIA_POLL: (&str, &str) = ("/sys/module/block/parameters/events_dfl_poll_msecs", "2000");

pub(super) fn early_mounts(node: &mut Node) -> Result<(), Stage2Error> {
    mounts::make(mounts::RUNTIME)?;
    if node.manifest.debug {
        mounts::make(mounts::DEBUG)?;
    }
    // Containers' mounts must be seen by the host and by each other, as Kubernetes wants it.
    Ok(mounts::share_all()?)
}

/// First what the image asks for, then what the machine does. A driver that can't be loaded is
/// said; whatever needs it will fail with its own reason.
pub(super) fn load_modules(node: &mut Node) {
    match Modules::of_running_kernel() {
        Ok(modules) => {
            let loader = modules.loader();
            for name in &node.manifest.modules {
                if let Err(error) = loader.load(name, "") {
                    say!("{error}");
                }
            }
        }
        Err(error) => say!("{error}"),
    }
    // A kernel without this setting looks at them when somebody reads.
    let _by_itself = fs::write(MEDIA_POLL.0, MEDIA_POLL.1);
    node.devices = Devices::start();
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
