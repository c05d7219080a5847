//! The phase that makes the node what its seed says: its name, and every rendered file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::seed::manifest::{Manifest, RENDERED_PATH, TEMPLATES_PATH};
use ::seed::render::{self, Rendered};

use crate::boot::Stage2Error;
use crate::node::Node;

/// The node becomes what its seed says: its name, and every rendered file.
pub(super) fn take_identity(node: &mut Node) -> Result<(), Stage2Error> {
    let Some(seed) = &node.seed else { return Ok(()) };
    let name = seed.node.name.to_string();
    rustix::system::sethostname(name.as_bytes())
        .map_err(|errno| Stage2Error::HostName { name, source: errno.into() })?;
    let context = render::context(seed);
    let read_source = |source: &str| fs::read_to_string(Path::new(TEMPLATES_PATH).join(source));
    for rendered in render::render_all(&node.manifest, &context, &read_source)? {
        write_rendered(&rendered, &node.manifest)?;
    }
    Ok(())
}

fn write_rendered(rendered: &Rendered, manifest: &Manifest) -> Result<(), Stage2Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = PathBuf::from(format!("{RENDERED_PATH}{}", rendered.path));
    let fail = |source| Stage2Error::File { path: path.clone(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut options = fs::OpenOptions::new();
    let mode = rendered.mode.bits();
    let mut file =
        options.write(true).create(true).truncate(true).mode(mode).open(&path).map_err(fail)?;
    io::Write::write_all(&mut file, rendered.text.as_bytes()).map_err(fail)?;
    let group = rendered.group.as_ref().unwrap_or(&rendered.user);
    let (owner, group) = (user_id(&rendered.user, manifest), user_id(group, manifest));
    std::os::unix::fs::fchown(&file, Some(owner), Some(group)).map_err(fail)
}

/// The number of a user; of a name that the image doesn't know nobody becomes the owner but root.
fn user_id(name: &str, manifest: &Manifest) -> u32 {
    let known = manifest.users.iter().find(|user| user.name == name);
    known.map_or(0, |user| user.id)
}
