//! What services and the node use, from the kernel's accounts.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ::control::{Top, Usage};

/// Usage of the node; services are added by who knows them.
pub fn of_node(now: Duration, services: Vec<Usage>) -> Top {
    let memory = text(Path::new("/proc/meminfo"));
    let load = text(Path::new("/proc/loadavg"));
    let kilobytes = |key| keyed(&memory, key).unwrap_or(0).saturating_mul(1024);
    Top {
        uptime_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        processors: thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_bytes: kilobytes("MemTotal:"),
        memory_available_bytes: kilobytes("MemAvailable:"),
        load_hundredths: hundredths(load.split(' ').next().unwrap_or_default()),
        services,
    }
}

/// Usage of a service, by the cgroup that holds all of its runs.
pub fn of_service(name: &str, cgroup: &Path) -> Usage {
    let file = |file: &str| text(&cgroup.join(file));
    let number = |name: &str| file(name).trim().parse().ok();
    Usage {
        service: name.to_owned(),
        cpu_us: keyed(&file("cpu.stat"), "usage_usec"),
        memory_bytes: number("memory.current"),
        memory_peak_bytes: number("memory.peak"),
        memory_limit_bytes: number("memory.max"),
        pids: number("pids.current"),
        oom_kills: keyed(&file("memory.events"), "oom_kill"),
    }
}

/// A file of the kernel's; empty if it can't be read, as when the controller isn't there.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number after a key at the start of a line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(key)).then(|| words.next()?.parse().ok())?
    })
}

/// `0.42` as 42.
fn hundredths(text: &str) -> u64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u64 = whole.parse().unwrap_or(0);
    let part: u64 = part.get(..2).unwrap_or(part).parse().unwrap_or(0);
    whole.saturating_mul(100).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_and_absent_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cpu.stat", "usage_usec 1500000\nuser_usec 1000000\n");
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        write("memory.events", "low 0\noom 1\noom_kill 2\n");
        let usage = of_service("haproxy", folder.path());
        let expected = Usage {
            service: "haproxy".to_owned(),
            cpu_us: Some(1_500_000),
            memory_bytes: Some(4096),
            oom_kills: Some(2),
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn the_node_has_memory_and_load() {
        let top = of_node(Duration::from_secs(5), Vec::new());
        assert!(top.memory_bytes > top.memory_available_bytes);
        assert!(top.processors > 0);
        assert_eq!(hundredths("12.34"), 1234);
        assert_eq!(hundredths("0.05"), 5);
    }
}
