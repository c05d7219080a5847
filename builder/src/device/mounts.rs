//! `/proc/self/mountinfo` and `/proc/swaps`, as far as they name devices.

/// A mount, by what the kernel says about its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Such as `8:1`. Filesystems over several devices have a number that is no device's.
    pub(super) number: String,
    pub(super) at: String,
    /// What was mounted, such as `/dev/sda1`; not a path for virtual filesystems.
    pub(super) source: String,
}

/// The mounts of a `mountinfo`; lines that don't look like one are passed over.
pub(super) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    // Optional fields stand between the two parts, which a lone hyphen separates.
    let (first, second) = line.split_once(" - ")?;
    let mut fields = first.split(' ').skip(2);
    let number = fields.next()?.to_owned();
    let at = unescape(fields.nth(1)?);
    let source = unescape(second.split(' ').nth(1)?);
    Some(Mount { number, at, source })
}

/// The paths of swap devices and files.
pub(super) fn swaps(swaps: &str) -> Vec<String> {
    let paths = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    paths.map(unescape).collect()
}

/// The kernel writes space, tab, line end and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mount_has_its_device_place_and_source() {
        let text = "26 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n\
                    nonsense\n\
                    40 26 0:35 /sub /mnt/my\\040stick rw - btrfs /dev/mapper/a\\134b rw\n";
        let found = mounts(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].number.as_str(), found[0].at.as_str()), ("8:2", "/"));
        assert_eq!(found[0].source, "/dev/sda2");
        assert_eq!(found[1].at, "/mnt/my stick");
        assert_eq!(found[1].source, "/dev/mapper/a\\b");
    }

    #[test]
    fn the_head_line_of_swaps_is_no_swap() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda3 partition 8 0 -2\n";
        assert_eq!(swaps(text), ["/dev/sda3"]);
        assert_eq!(swaps(""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[ -~\\\\\n\u{e4}]{0,200}") {
            let _some = (mounts(&text), swaps(&text));
        }
    }
}
