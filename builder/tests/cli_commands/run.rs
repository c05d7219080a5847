//! `run` with a program in the place of QEMU, which says how it was started.

use std::path::Path;

use builder::image::open::OpenImage;
use disk::boot::Slot;

use crate::shared::command::{Ran, command, finish};
use crate::shared::flashable::{Choice, write_image};
use crate::support::{put_idle_qemu, text};

fn command_line(image: &Path) -> String {
    let image = OpenImage::open(image).expect("an image");
    image.kernel(Slot::A).expect("a kernel").command_line
}

#[test]
fn a_disk_that_was_kept_is_booted_with_its_own_kernel_whatever_image_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = |name: &str| folder.path().join(name);
    let (old, new, disk) = (inside("old.raw"), inside("new.raw"), inside("kept.raw"));
    write_image(&old, Choice::SHIPPED);
    write_image(&new, Choice { debug: true, ..Choice::SHIPPED });
    assert_ne!(command_line(&old), command_line(&new));
    let programs = put_idle_qemu(folder.path());
    let path = format!("{}:{}", text(&programs), std::env::var("PATH").expect("set"));
    let run = |image: &Path| -> Ran {
        let mut command = command();
        command.args(["run", text(image), "--keep", text(&disk), "--acceleration", "tcg"]);
        finish(command.env("PATH", &path)).ended(0)
    };
    let first = run(&old);
    assert!(first.out.contains(&command_line(&old)), "{}", first.out);
    assert!(!first.err.contains("was not looked at"), "{}", first.err);
    let second = run(&new);
    assert!(second.out.contains(&command_line(&old)), "{}", second.out);
    let said = format!("{} was not looked at", text(&new));
    assert!(second.err.contains(&said), "{}", second.err);
    // What isn't looked at needn't be there.
    let third = run(&inside("gone.raw"));
    assert!(third.out.contains(&command_line(&old)), "{}", third.out);
}
