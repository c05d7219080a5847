//! What a service may say on its notify socket: the words of systemd's protocol that we know.
//!
//! A datagram is lines of `NAME=VALUE`. Whatever else it holds is ignored: programs also send words
//! that are meant for systemd alone.

/// The longest datagram that is looked at; what is behind is cut off.
pub(crate) const NOTICE_MAX_BYTES: usize = 2048;

/// The longest status text that is kept.
pub(crate) const STATUS_MAX_BYTES: usize = 200;

/// What one datagram says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice<'a> {
    /// `READY=1`
    pub ready: bool,
    /// `WATCHDOG=1`
    pub alive: bool,
    /// `STOPPING=1`
    pub stopping: bool,
    /// `STATUS=`, as the service wrote it.
    pub status: Option<&'a [u8]>,
}

/// Reads a datagram; any bytes will do.
pub(crate) fn parse(datagram: &[u8]) -> Notice<'_> {
    let mut notice = Notice::default();
    let datagram = datagram.get(..NOTICE_MAX_BYTES).unwrap_or(datagram);
    for line in datagram.split(|byte| *byte == b'\n') {
        match line {
            b"READY=1" => notice.ready = true,
            b"WATCHDOG=1" => notice.alive = true,
            b"STOPPING=1" => notice.stopping = true,
            _ => {
                if let Some(text) = line.strip_prefix(b"STATUS=") {
                    notice.status = Some(text.get(..STATUS_MAX_BYTES).unwrap_or(text));
                }
            }
        }
    }
    notice
}

/// The run that a process belongs to, from its `/proc/PID/cgroup`, if it is one of this service.
pub(crate) fn run_of(cgroups: &str, ours: &str, service: &str) -> Option<u64> {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let rest = path.strip_prefix(ours)?.strip_prefix('/')?;
    let rest = rest.strip_prefix(service)?.strip_prefix('/')?;
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_words_that_we_know_are_found_among_others() {
        let notice = parse(b"READY=1\nSTATUS=accepting\nMAINPID=7\nX_FOO");
        assert_eq!(notice, Notice { ready: true, status: Some(b"accepting"), ..Notice::default() });
        let notice = parse(b"WATCHDOG=1\nSTOPPING=1\n");
        assert_eq!(notice, Notice { alive: true, stopping: true, ..Notice::default() });
    }

    #[test]
    fn nearly_the_right_words_mean_nothing() {
        for text in ["READY=0", "READY=1 ", "ready=1", "READY=11", "=READY=1", "WATCHDOG=trigger"] {
            assert_eq!(parse(text.as_bytes()), Notice::default(), "{text}");
        }
    }

    #[test]
    fn a_sender_belongs_to_a_service_by_its_cgroup() {
        let of = |text| run_of(text, "edgepair", "proxy");
        assert_eq!(of("0::/edgepair/proxy/3\n"), Some(3));
        assert_eq!(of("9:name=systemd:/\n0::/edgepair/proxy/12/probe-1\n"), Some(12));
        for stranger in [
            "0::/",
            "0::/edgepair/proxy",
            "0::/edgepair/proxy2/3",
            "0::/edgepair/other/3",
            "0::/kubepods/edgepair/proxy/3",
            "0::/../edgepair/proxy/3",
            "1:pids:/edgepair/proxy/3",
            "",
        ] {
            assert_eq!(of(stranger), None, "{stranger}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_panics_and_nothing_long_is_kept(bytes: Vec<u8>, tail: String) {
            let mut long = b"STATUS=".to_vec();
            long.extend(bytes.iter().cycle().take(bytes.len() * 50));
            for datagram in [bytes, long] {
                let status = parse(&datagram).status.unwrap_or_default();
                prop_assert!(status.len() <= STATUS_MAX_BYTES);
            }
            let _any = run_of(&tail, "edgepair", "proxy");
            let _any = run_of(&format!("0::/edgepair/proxy/{tail}"), "edgepair", "proxy");
        }

        #[test]
        fn a_word_is_found_wherever_it_stands(before in "[a-z\n=]{0,40}", after in "[a-z\n=]{0,40}") {
            let datagram = format!("{before}\nREADY=1\n{after}");
            prop_assert!(parse(datagram.as_bytes()).ready);
        }
    }
}
