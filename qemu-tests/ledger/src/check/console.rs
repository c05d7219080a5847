//! What no healthy console ever says, after the list of kola, and some of our own.

use crate::history::Micros;
use crate::verdict::Finding;

/// A text that must not appear, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// A part of a line.
    pub text: &'static str,
    /// What it tells.
    pub meaning: &'static str,
}

const fn sign(text: &'static str, meaning: &'static str) -> Sign {
    Sign { text, meaning }
}

/// Case matters, as the kernel writes them.
pub const SIGNS: [Sign; 24] = [
    sign("Kernel panic - not syncing", "the kernel gave up"),
    sign("Oops:", "the kernel met a bug"),
    sign("kernel BUG at", "the kernel met a bug"),
    sign("BUG: ", "the kernel met a bug"),
    sign("WARNING: CPU: ", "the kernel found something that can't be"),
    sign("general protection fault", "a program or the kernel broke"),
    sign("invalid opcode", "a program or the kernel broke"),
    sign("divide error", "a program or the kernel broke"),
    sign("segfault at", "a program broke"),
    sign("core dumped", "a program broke"),
    sign("panicked at", "one of our own programs broke"),
    sign("soft lockup", "a processor hangs"),
    sign("self-detected stall", "a processor hangs"),
    sign("detected stalls on CPUs", "a processor hangs"),
    sign("blocked for more than", "a process hangs in the kernel"),
    sign("Out of memory: Killed", "memory was over"),
    sign("oom-kill:", "memory was over"),
    sign("I/O error", "a disk broke"),
    sign("critical medium error", "a disk broke"),
    sign("EXT4-fs error", "a filesystem is damaged"),
    sign("Remounting filesystem read-only", "a filesystem is damaged"),
    sign("is corrupted", "a block is not what was built"),
    sign("Attempted to kill init", "PID 1 ended"),
    sign("stage 2 failed", "the agent could not boot"),
];

/// A line of a node's console.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Whose.
    pub node: &'a str,
    /// When it came, on the harness's clock.
    pub at: Micros,
    /// What it says.
    pub text: &'a str,
}

/// What a line tells of, if of anything bad.
pub fn trouble(text: &str) -> Option<Sign> {
    SIGNS.into_iter().find(|sign| text.contains(sign.text))
}

/// No console tells of trouble, but for lines that contain something that the drill expects: who
/// breaks a disk on purpose wants to read of it.
pub fn console_clean<'a>(lines: impl IntoIterator<Item = Line<'a>>, expected: &[&str]) -> Finding {
    let check = "no console tells of a crash, a hang, or a broken disk";
    let (mut count, mut violations) = (0_u32, Vec::new());
    for line in lines {
        count += 1;
        if let Some(sign) = trouble(line.text)
            && !expected.iter().any(|part| line.text.contains(part))
        {
            let reason = format!("{}: {} ({})", line.node, line.text.trim(), sign.meaning);
            violations.push((line.at, reason));
        }
    }
    if count == 0 {
        return Finding::unknown(check, "no console said anything");
    }
    Finding::from_violations(check, violations, format!("{count} lines, none of them"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict::{Pass, Unknown, Violated};

    fn line(text: &str) -> Line<'_> {
        Line { node: "node1", at: Micros(5), text }
    }

    #[test]
    fn an_ordinary_boot_is_clean() {
        let boot = [
            "[    0.000000] Linux version 6.12.48+deb13-cloud-amd64",
            "[    0.410000] virtio_blk virtio1: [vda] 2097152 512-byte logical blocks",
            "EXT4-fs (dm-0): mounted filesystem r/o without journal. Quota mode: none.",
            "edgepair: ready node=node1 after=790ms",
            "edgepair: a kill -9 of vipd, exit code 137: starts again",
        ];
        let finding = console_clean(boot.map(line), &[]);
        assert_eq!(finding.verdict, Pass, "{finding:?}");
        assert_eq!(console_clean([], &[]).verdict, Unknown);
    }

    #[test]
    fn every_sign_is_seen() {
        for sign in SIGNS {
            let text = format!("[   12.3] x {} y", sign.text);
            let finding = console_clean([line("fine"), line(&text)], &[]);
            assert_eq!((finding.verdict, finding.at), (Violated, Some(Micros(5))), "{sign:?}");
        }
    }

    #[test]
    fn what_a_drill_does_on_purpose_is_excused_and_nothing_else() {
        let eio = line("blk_update_request: I/O error, dev vdb, sector 2048");
        assert_eq!(console_clean([eio], &["dev vdb"]).verdict, Pass);
        assert_eq!(console_clean([eio], &["dev vdc"]).verdict, Violated);
    }
}
