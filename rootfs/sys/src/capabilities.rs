//! The names of capabilities, as overlays write them, and their bits.

use std::fs;

/// The kernel's names, each at the place of its number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const LAST_CAPABILITY: &str = "/proc/sys/kernel/cap_last_cap";

/// The bit of a capability; none if no kernel has it.
pub fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

/// The highest number that the running kernel knows; it refuses those above.
pub(crate) fn last() -> u32 {
    let said = fs::read_to_string(LAST_CAPABILITY).ok();
    let highest_bit = 63;
    let ours = u32::try_from(NAMES.len()).unwrap_or(highest_bit).saturating_sub(1);
    said.and_then(|text| text.trim().parse().ok()).unwrap_or(ours).min(highest_bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_kernel() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("CAP_NET_ADMIN", 12),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_SYS_TIME", 25),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            assert_eq!(bit(name), Some(1 << number), "{name}");
        }
        assert_eq!(bit("net_raw"), None);
    }
}
