//! Whether the kernel has given STATE up while the node runs.
//!
//! A file system that met an error is read-only from then on (`errors=remount-ro`), also when its disk
//! answers again a moment later; only a check mends that, and a check is made at the next start. What
//! is looked at is the kernel's table of mounts: it is in memory, so a disk that hangs delays nobody.

use std::fs;

use seed::manifest::STATE_PATH;

const MOUNTS: &str = "/proc/self/mountinfo";
/// How the options of a file system say so; newer kernels have a word of their own for it.
const GIVEN_UP: [&str; 3] = ["ro", "emergency_ro", "shutdown"];

/// Whether STATE can't be written to any more.
pub(super) fn is_lost() -> bool {
    fs::read_to_string(MOUNTS).is_ok_and(|table| given_up(&table, STATE_PATH))
}

/// A line has the mount's place as its fifth word, and the file system's options as its last one.
fn given_up(table: &str, path: &str) -> bool {
    let at_path = table.lines().filter(|line| line.split(' ').nth(4) == Some(path));
    let mut options = at_path.filter_map(|line| line.rsplit(' ').next());
    options.any(|options| options.split(',').any(|option| GIVEN_UP.contains(&option)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_met_an_error_is_told_from_a_mount_that_is_meant_to_be_read_only() {
        let line = |options: &str| {
            format!(
                "22 1 254:0 / / ro,relatime - ext4 /dev/dm-0 ro\n\
                 31 22 259:5 / /state rw,nosuid,nodev - ext4 /dev/nvme0n1p5 {options}\n\
                 32 31 259:5 /logs /state/logs ro - ext4 /dev/nvme0n1p5 {options}\n"
            )
        };
        assert!(!given_up(&line("rw,errors=remount-ro,commit=5"), "/state"));
        for options in ["ro,errors=remount-ro", "rw,emergency_ro", "rw,shutdown,commit=5"] {
            assert!(given_up(&line(options), "/state"), "{options}");
        }
        assert!(!given_up("", "/state") && !given_up(&line("ro"), "/stat"));
    }
}
