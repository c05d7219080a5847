//! What services use: two samples become rates.

use control::{Top, Usage};

use super::table::{Cell, table};
use super::time::span;
use super::{Mood, Style, bytes};

/// An answer to `top`, and the one before it.
#[derive(Debug, Default)]
pub struct Sample {
    before: Option<Top>,
    now: Option<Top>,
}

impl Sample {
    /// Takes a newer answer.
    pub fn push(&mut self, top: Top) {
        self.before = self.now.replace(top);
    }

    /// The share of one processor in tenths of a percent, since the answer before; none without
    /// one, or if the node or the service was started anew in between.
    fn cpu_tenths(&self, service: &Usage) -> Option<u64> {
        let (before, now) = (self.before.as_ref()?, self.now.as_ref()?);
        let old = before.services.iter().find(|old| old.service == service.service)?;
        let used = service.cpu_us?.checked_sub(old.cpu_us?)?;
        let passed = now.uptime_ms.checked_sub(before.uptime_ms).filter(|ms| *ms > 0)?;
        Some(used / passed)
    }
}

/// The screen; empty before the first answer.
pub fn usage_screen(sample: &Sample, style: Style) -> String {
    let Some(top) = &sample.now else { return String::new() };
    let used = top.memory_bytes.saturating_sub(top.memory_available_bytes);
    let head = format!(
        "up {}, load {}.{:02} on {} processors, memory {} of {} in use\n\n",
        span(top.uptime_ms),
        top.load_hundredths / 100,
        top.load_hundredths % 100,
        top.processors,
        bytes(used),
        bytes(top.memory_bytes),
    );
    let absent = || "-".to_owned();
    let row = |service: &Usage| {
        let cpu = sample.cpu_tenths(service);
        let busy = cpu.is_some_and(|tenths| tenths >= 900);
        let killed = service.oom_kills.is_some_and(|kills| kills > 0);
        let number = |value: Option<u64>| value.map_or_else(absent, |value| value.to_string());
        vec![
            Cell::text(&service.service),
            Cell::number(cpu.map_or_else(absent, |it| format!("{}.{}%", it / 10, it % 10)))
                .mood(if busy { Mood::Uneasy } else { Mood::Neutral }),
            Cell::number(service.cpu_us.map_or_else(absent, |us| span(us / 1000))),
            Cell::number(service.memory_bytes.map_or_else(absent, bytes)),
            Cell::number(service.memory_peak_bytes.map_or_else(absent, bytes)),
            Cell::number(service.memory_limit_bytes.map_or_else(absent, bytes)),
            Cell::number(number(service.pids)),
            Cell::number(number(service.oom_kills)).mood(if killed {
                Mood::Bad
            } else {
                Mood::Neutral
            }),
        ]
    };
    let mut services: Vec<&Usage> = top.services.iter().collect();
    // The busiest first; without rates the largest.
    services.sort_by_key(|it| std::cmp::Reverse((sample.cpu_tenths(it), it.memory_bytes)));
    let rows: Vec<_> = services.into_iter().map(row).collect();
    let names = ["CPU", "CPU TIME", "MEMORY", "PEAK", "LIMIT", "PIDS", "OOM KILLS"];
    let headings: Vec<Cell> =
        std::iter::once(Cell::text("SERVICE")).chain(names.iter().map(Cell::number)).collect();
    head + &table(style, &headings, &rows)
}
