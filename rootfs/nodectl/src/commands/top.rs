//! `nodectl top`: asks every two seconds, shows rates.

use std::io::{self, IsTerminal};
use std::time::Duration;

use control::{Answer, Request};

use super::keys::Keys;
use super::{Node, print};
use crate::cli::Failure;
use crate::show::{Sample, usage_screen};

/// Short enough to watch, long enough that asking doesn't show among the rates.
const INTERVAL: Duration = Duration::from_secs(2);
/// Cursor home and clear to the end.
const CLEAR: &str = "\x1b[H\x1b[J";

impl Node {
    fn sample(&self, sample: &mut Sample) -> Result<(), Failure> {
        match self.client.one(&Request::Top)? {
            Answer::Top(top) => {
                sample.push(top);
                Ok(())
            }
            _ => Err(self.client.unexpected().into()),
        }
    }

    pub(crate) fn top(&self, once: bool) -> Result<(), Failure> {
        let mut sample = Sample::default();
        self.sample(&mut sample)?;
        let keys = Keys::listen();
        if once {
            if !keys.wants_to_go(INTERVAL) {
                self.sample(&mut sample)?;
            }
            return print(&usage_screen(&sample, self.style));
        }
        let clear = if io::stdout().is_terminal() { CLEAR } else { "" };
        loop {
            print(&format!("{clear}{}\n", usage_screen(&sample, self.style)))?;
            if keys.wants_to_go(INTERVAL) {
                return Ok(());
            }
            self.sample(&mut sample)?;
        }
    }
}
