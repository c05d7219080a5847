//! Says what is going on while it does: bars on a terminal, lines in a log, nothing when quiet.
//!
//! Everything that takes longer than a blink takes a `&Progress`. It goes to standard error, so
//! that standard output stays for results. It may be shared by threads.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

const SPINNER_TICK: Duration = Duration::from_millis(120);
/// Bars for shorter transfers would only flicker.
const BAR_BYTES_MIN: u64 = 512 * 1024;
/// How a transfer looks: what, how much of how much, how fast, how much longer.
const TRANSFER: &str = "{msg:28!} [{wide_bar}] {bytes:>9} of {total_bytes:9} \
    {bytes_per_sec:>11} {eta:>4}";

/// Where progress is shown.
pub struct Progress {
    mode: Mode,
}

enum Mode {
    Quiet,
    Lines(Mutex<Box<dyn Write + Send>>),
    Bars(MultiProgress),
}

/// One transfer; it may be told of bytes from any thread.
#[derive(Debug)]
pub struct Bytes<'a> {
    progress: &'a Progress,
    label: String,
    bar: Option<ProgressBar>,
}

/// One step of the work; it ends when it is finished or dropped.
#[derive(Debug)]
pub struct Step<'a> {
    progress: &'a Progress,
    label: String,
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Progress {
    /// Bars if standard error is a terminal, else lines; nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            return Self::quiet();
        }
        if std::io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr();
            return Self { mode: Mode::Bars(MultiProgress::with_draw_target(target)) };
        }
        Self::lines(Box::new(std::io::stderr()))
    }

    pub fn quiet() -> Self {
        Self { mode: Mode::Quiet }
    }

    /// Plain lines to a writer.
    pub fn lines(writer: Box<dyn Write + Send>) -> Self {
        Self { mode: Mode::Lines(Mutex::new(writer)) }
    }

    /// A line that stays.
    pub fn note(&self, line: &str) {
        match &self.mode {
            Mode::Quiet => {}
            // Progress that can't be written must not stop the work.
            Mode::Lines(writer) => {
                if let Ok(mut writer) = writer.lock() {
                    let _ = writeln!(writer, "{line}");
                }
            }
            Mode::Bars(bars) => {
                let _ = bars.println(line);
            }
        }
    }

    /// A line that somebody must see, so it is no progress.
    pub fn warn(&self, line: &str) {
        match &self.mode {
            Mode::Quiet => eprintln!("{line}"),
            Mode::Lines(_) | Mode::Bars(_) => self.note(line),
        }
    }

    /// Begins a transfer of `total` bytes, if that is known.
    pub fn bytes(&self, label: &str, total: Option<u64>) -> Bytes<'_> {
        let bar = match &self.mode {
            Mode::Bars(bars) if total.is_none_or(|total| total >= BAR_BYTES_MIN) => {
                let bar = bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
                bar.set_style(style(TRANSFER));
                bar.set_message(label.to_owned());
                Some(bar)
            }
            _ => None,
        };
        Bytes { progress: self, label: label.to_owned(), bar }
    }

    /// Begins a step, such as "writing the root file system".
    pub fn step(&self, label: &str) -> Step<'_> {
        let bar = match &self.mode {
            Mode::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {msg} {elapsed}"));
                bar.set_message(label.to_owned());
                bar.enable_steady_tick(SPINNER_TICK);
                Some(bar)
            }
            _ => None,
        };
        Step { progress: self, label: label.to_owned(), bar, begun: Instant::now() }
    }

    /// Begins a step that may take minutes, so that a log says at once what it waits for.
    pub fn long_step(&self, label: &str) -> Step<'_> {
        if matches!(self.mode, Mode::Lines(_)) {
            self.note(&format!("{label} ..."));
        }
        self.step(label)
    }
}

impl Bytes<'_> {
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Says how much there is already, as when a download is resumed or begun anew.
    pub fn set(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    /// Ends with a line such as "fetched postgresql-17 17.11 16.7 MB".
    pub fn finish(self, verb: &str, bytes: u64) {
        self.progress.note(&format!("{verb} {} {}", self.label, readable_bytes(bytes)));
    }
}

impl Drop for Bytes<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Step<'_> {
    /// Ends with a line that says what came of it and how long it took.
    pub fn finish(mut self, result: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let colon = if result.is_empty() { "" } else { ": " };
        self.progress.note(&format!("{}{colon}{result} ({seconds:.1} s)", self.label));
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.mode {
            Mode::Quiet => "Quiet",
            Mode::Lines(_) => "Lines",
            Mode::Bars(_) => "Bars",
        })
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Bytes as people read them, in powers of a thousand: `16.7 MB`.
pub fn readable_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale = 1000_u64;
    while bytes / scale >= 1000 && unit + 1 < UNITS.len() {
        unit += 1;
        scale *= 1000;
    }
    let tenths = bytes / (scale / 10);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn without_a_terminal_each_thing_is_one_line() {
        let log = Shared::default();
        let progress = Progress::lines(Box::new(log.clone()));
        let bytes = progress.bytes("postgresql-17 17.11", Some(16_712_345));
        bytes.add(16_712_345);
        bytes.finish("fetched", 16_712_345);
        drop(progress.bytes("abandoned", None));
        progress.step("root").finish("ext4");
        let compiling = progress.long_step("binaries");
        let said = || String::from_utf8(log.0.lock().expect("unpoisoned").clone()).expect("text");
        assert!(said().ends_with("binaries ...\n"), "before it is done: {}", said());
        compiling.finish("");
        let text = said();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("fetched postgresql-17 17.11 16.7 MB"));
        assert!(lines.next().is_some_and(|line| line.starts_with("root: ext4 (")));
        assert_eq!(lines.next(), Some("binaries ..."));
        assert!(lines.next().is_some_and(|line| line.starts_with("binaries (")));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn it_is_shared_by_threads() {
        fn shared<T: Sync + Send>() {}
        shared::<Progress>();
        assert_eq!(readable_bytes(999), "999 B");
        assert_eq!(readable_bytes(1_234_567_890), "1.2 GB");
    }
}
