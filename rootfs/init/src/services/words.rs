//! What the console says when a service moves, and how important it is.

use std::time::Duration;

use rustix::process::Signal;
use seed::section::ConsoleLevel;
use supervise::{Exit, Input, ServiceStatus, State};

/// A move in words.
pub(crate) fn words(
    from: State,
    to: State,
    because: Input,
    status: &ServiceStatus,
    now: Duration,
) -> (ConsoleLevel, String) {
    let exit = status.last_exit.map_or_else(|| "ended".to_owned(), exit);
    match (to, because) {
        (State::Ready, _) => (ConsoleLevel::Info, "ready".to_owned()),
        (State::Finished, _) => (ConsoleLevel::Info, "done".to_owned()),
        (State::Ended, _) => (ConsoleLevel::Info, format!("{exit}, for good")),
        (State::Failed, _) => {
            let mend = "it is not started again by itself";
            (ConsoleLevel::Error, format!("{exit}; {mend}"))
        }
        (State::BackOff, _) => {
            let until = Duration::from_millis(status.until_ms.unwrap_or_default());
            let pause = until.saturating_sub(now).as_secs_f64();
            (ConsoleLevel::Warning, format!("{exit}; starts again in {pause:.1} s"))
        }
        (State::Stopping, Input::Timer) => {
            (ConsoleLevel::Warning, "not ready in time; stopping it".to_owned())
        }
        (State::Stopping, _) => (ConsoleLevel::Info, "stopping".to_owned()),
        (State::Killing, Input::Hurry) => {
            (ConsoleLevel::Warning, "time is over; killing it".to_owned())
        }
        (State::Killing, _) if from == State::Ready => {
            (ConsoleLevel::Error, "doesn't say that it is alive; killing it".to_owned())
        }
        (State::Killing, _) if from == State::Killing => {
            (ConsoleLevel::Error, "still not gone after a kill; killing it again".to_owned())
        }
        (State::Killing, _) => {
            (ConsoleLevel::Warning, "does not stop when asked; killing it".to_owned())
        }
        (State::Waiting | State::Down, Input::EndsAsAsked) => {
            (ConsoleLevel::Info, "stopped".to_owned())
        }
        (State::Starting, _) => (ConsoleLevel::Debug, "starting".to_owned()),
        (State::Running, _) => (ConsoleLevel::Debug, "running".to_owned()),
        (State::Waiting, _) => (ConsoleLevel::Debug, "waiting".to_owned()),
        (State::Down, _) => (ConsoleLevel::Debug, "down".to_owned()),
    }
}

/// How a run ended, in words.
pub(crate) fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with exit code {code}"),
        Exit::Signal(number) => match Signal::from_named_raw(number) {
            Some(Signal::KILL) => "was killed".to_owned(),
            Some(signal) => format!("ended by signal {number} ({signal:?})"),
            None => format!("ended by signal {number}"),
        },
        Exit::NotStarted => "was not started".to_owned(),
    }
}

/// Where a service is, in words.
pub(crate) fn state(status: &ServiceStatus) -> String {
    let word = match status.state {
        State::Down => "down",
        State::Waiting if !status.waits_for.is_empty() => {
            return format!("waits for {}", status.waits_for.join(", "));
        }
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Running => "not ready yet",
        State::Ready => "ready",
        State::Stopping => "stopping",
        State::Killing => "being killed",
        State::BackOff => "pausing after a failure",
        State::Finished => "done",
        State::Ended => "ended",
        State::Failed => "failed",
    };
    word.to_owned()
}

/// Whether a line of this importance is shown on a console that shows lines of that one.
pub(crate) fn is_shown(line: ConsoleLevel, console: ConsoleLevel) -> bool {
    let rank = |level| match level {
        ConsoleLevel::Error => 0,
        ConsoleLevel::Warning => 1,
        ConsoleLevel::Info => 2,
        ConsoleLevel::Debug => 3,
    };
    rank(line) <= rank(console)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(last_exit: Option<Exit>, until_ms: Option<u64>) -> ServiceStatus {
        ServiceStatus {
            name: "p".to_owned(),
            state: State::BackOff,
            desired: true,
            since_ms: 0,
            until_ms,
            restarts: 0,
            last_exit,
            waits_for: Vec::new(),
        }
    }

    #[test]
    fn a_failure_says_how_and_when_it_goes_on() {
        let status = status(Some(Exit::Code(3)), Some(10_400));
        let now = Duration::from_secs(10);
        let (level, text) = words(State::Ready, State::BackOff, Input::EndsForAWhile, &status, now);
        assert_eq!(level, ConsoleLevel::Warning);
        assert_eq!(text, "ended with exit code 3; starts again in 0.4 s");
    }

    #[test]
    fn a_kill_says_why() {
        let status = status(None, None);
        let text = |from, because| words(from, State::Killing, because, &status, Duration::ZERO).1;
        assert!(text(State::Ready, Input::Timer).contains("doesn't say that it is alive"));
        assert!(text(State::Ready, Input::Hurry).contains("time is over"));
        assert!(text(State::Stopping, Input::Timer).contains("does not stop when asked"));
        assert!(text(State::Killing, Input::Timer).contains("killing it again"));
    }

    #[test]
    fn exits_are_readable() {
        assert_eq!(exit(Exit::Signal(9)), "was killed");
        assert!(exit(Exit::Signal(11)).contains("11"));
        assert_eq!(exit(Exit::Signal(200)), "ended by signal 200");
    }

    #[test]
    fn a_console_shows_what_is_important_enough() {
        assert!(is_shown(ConsoleLevel::Error, ConsoleLevel::Error));
        assert!(is_shown(ConsoleLevel::Warning, ConsoleLevel::Info));
        assert!(!is_shown(ConsoleLevel::Debug, ConsoleLevel::Info));
        assert!(!is_shown(ConsoleLevel::Warning, ConsoleLevel::Error));
    }
}
