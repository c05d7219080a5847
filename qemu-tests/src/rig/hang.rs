//! The end of a drill whose body never ends.
//!
//! Every wait of the rig has a bound, and says "the drill's own time is over" beyond it. A body that
//! waits for nothing, because it computes for ever, can't be told. Then what was seen so far is
//! written, and the whole program ends; the reaper ends its machines.

use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use builder::unfinished::write_whole;

use super::log::Log;
use crate::console::Console;

/// Beyond a drill's own time its last reads and a fault's proof may still take so long.
pub const GRACE: Duration = Duration::from_mins(2);
/// How the program ends then: it doesn't know whether the claim holds.
const EXIT_CODE: i32 = 4;

/// Watches until it is dropped.
#[derive(Debug)]
#[must_use = "it watches for as long as it is kept"]
pub struct Watch {
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Watch {
    /// Does something, once, unless the watch is dropped within the limit.
    pub fn start(limit: Duration, on_hang: impl FnOnce() + Send + 'static) -> Self {
        let ended = Arc::<Ended>::default();
        let of_thread = Arc::clone(&ended);
        thread::spawn(move || {
            let guard = of_thread.is.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = of_thread.changed.wait_timeout_while(guard, limit, |ended| !*ended);
            let (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let hangs = !*guard;
            drop(guard);
            if hangs {
                on_hang();
            }
        });
        Self { ended }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.ended.is.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.changed.notify_all();
    }
}

/// What can be told of a drill without asking it.
#[derive(Debug)]
pub struct Seen {
    pub title: String,
    pub folder: PathBuf,
    pub log: Log,
    pub consoles: Vec<(String, Console)>,
}

impl Seen {
    /// Writes it down, and ends the program.
    pub fn end_it(self) -> ! {
        let (title, folder) = (&self.title, self.folder.display());
        eprintln!(
            "drill: {title} hangs: its body neither ends nor waits for anything. Its machines are \
             ended, and what was seen is in {folder}; later drills were not run"
        );
        self.write();
        process::exit(EXIT_CODE);
    }

    fn write(&self) {
        let mut text = format!("{} never ended.\n\n", self.title);
        for moment in self.log.moments() {
            text += &format!("{:8.3} s  {}\n", moment.at.as_secs_f64(), moment.text);
        }
        let mut files = vec![("hang.txt".to_owned(), text)];
        let console = |(name, console): &(String, Console)| {
            (format!("consoles/{name}.log"), console.transcript())
        };
        files.extend(self.consoles.iter().map(console));
        for (name, text) in files {
            if let Err(error) = write_whole(&self.folder.join(name), text.as_bytes()) {
                eprintln!("drill: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn only_what_lasts_too_long_is_ended() {
        let (say, said) = mpsc::channel();
        let quick = say.clone();
        let watch = Watch::start(LONG, move || quick.send("quick").unwrap());
        drop(watch);
        let _watch = Watch::start(Duration::from_millis(20), move || say.send("slow").unwrap());
        assert_eq!(said.recv_timeout(LONG), Ok("slow"));
        assert!(said.recv_timeout(LONG).is_err(), "both threads have ended, and nobody said more");
    }

    #[test]
    fn what_was_seen_is_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("consoles")).unwrap();
        let log = Log::new(Box::new(|_| ()));
        log.note(Duration::from_millis(1500), "FAULT cut the power of node1");
        let consoles = vec![("node1".to_owned(), Console::since(Instant::now()))];
        let title = "pg_kill9".to_owned();
        Seen { title, folder: folder.path().to_owned(), log, consoles }.write();
        let text = fs::read_to_string(folder.path().join("hang.txt")).unwrap();
        assert!(text.contains("1.500 s  FAULT cut the power of node1"), "{text}");
        assert!(folder.path().join("consoles/node1.log").exists());
    }
}
