//! Everything that the agent has to say goes to the console, one line at a time.
//!
//! There may be nobody there and no console at all, so saying something never fails and never
//! blocks a decision. Each line is one write, so that lines of the kernel don't cut into it.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

const CONSOLE: &str = "/dev/console";

/// Writes one line; prefer [`say!`](crate::say).
pub(crate) fn line(message: fmt::Arguments<'_>) {
    let text = format!("edgepair: {message}\r\n");
    if let Ok(mut console) = OpenOptions::new().write(true).open(CONSOLE) {
        // A console that takes no bytes leaves nobody to tell about it.
        let _unheard = console.write_all(text.as_bytes());
    }
}

/// Says one line on the console, with `format!`'s syntax.
#[macro_export]
macro_rules! say {
    ($($message:tt)*) => { $crate::console::line(format_args!($($message)*)) };
}
