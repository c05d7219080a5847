//! A terminal that gives single keys, and is as before afterwards.

use std::io::{self, IsTerminal};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// What Ctrl-C sends while the terminal doesn't make a signal of it.
const CONTROL_C: u8 = 3;

/// Standard input while it gives single keys; without a terminal there are none.
#[derive(Debug)]
pub(super) struct Keys {
    before: Option<Termios>,
}

impl Keys {
    pub(super) fn listen() -> Self {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Self { before: None };
        }
        let Ok(before) = tcgetattr(&stdin) else { return Self { before: None } };
        let mut raw = before.clone();
        // Ctrl-C is read as a key, since a signal would leave the terminal as it is now.
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        match tcsetattr(&stdin, OptionalActions::Now, &raw) {
            Ok(()) => Self { before: Some(before) },
            Err(_) => Self { before: None },
        }
    }

    /// Waits this long; says whether the person wants to go.
    pub(super) fn wants_to_go(&self, within: Duration) -> bool {
        let limit = Timespec::try_from(within).ok();
        let stdin = rustix::stdio::stdin();
        let mut inputs = [PollFd::new(&stdin, PollFlags::IN)];
        // Without a terminal, standard input may be at its end, which would be no pause at all.
        let inputs = if self.before.is_some() { inputs.as_mut_slice() } else { &mut [] };
        match poll(inputs, limit.as_ref()) {
            Ok(0) | Err(_) => false,
            Ok(_) => {
                let mut key = [0; 16];
                let count = rustix::io::read(stdin, &mut key).unwrap_or(0);
                let keys = key.get(..count).unwrap_or_default();
                count == 0 || keys.iter().any(|key| matches!(*key, b'q' | b'Q' | CONTROL_C))
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _as_it_is = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
