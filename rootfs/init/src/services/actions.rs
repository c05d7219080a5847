//! What the supervisor says is done here, and what the console and the journal hear of it.

use std::time::Duration;

use seed::section::ConsoleLevel;
use supervise::{Action, Event, Report, Run, ServiceId, State};

use super::probe::Probe;
use super::runner::{Runner, Surroundings};
use super::{Services, words};
use crate::console;
use crate::say;

impl Services {
    /// Tells the supervisor all news, and does what it says.
    pub(super) fn tell(&mut self, now: Duration) {
        while let Some(event) = self.news.pop_front() {
            for action in self.supervisor.step(now, event) {
                self.carry_out(action, now);
            }
        }
    }

    fn carry_out(&mut self, action: Action, now: Duration) {
        match action {
            Action::Spawn(id, run) => self.spawn(id, run, now),
            Action::Probe(id, run) => self.begin_probe(id, run, now),
            Action::Signal(id, run) => {
                if let Some(runner) = self.runner_of(id, run)
                    && let Err(error) = runner.ask_to_stop()
                {
                    say!("{}: can't be asked to stop: {error}", runner.service.name);
                }
            }
            Action::KillGroup(id, run) => {
                if let Some(runner) = self.runner_of(id, run)
                    && let Some(Err(error)) = runner.life.as_ref().map(|life| life.group.kill())
                {
                    say!("{}: can't be killed: {error}", runner.service.name);
                }
            }
            Action::Moved { service, from, to, because } => {
                if let Some(runner) = self.runners.get_mut(service.0)
                    && let Some(life) = &mut runner.life
                    && to != State::Running
                {
                    life.probe = None;
                }
                let status = self.supervisor.status();
                if let Some(status) = status.get(service.0) {
                    let (level, text) = words::words(from, to, because, status, now);
                    self.remark(service.0, level, &text, now);
                }
            }
            Action::AllDown { left } => {
                self.over = true;
                let name = |id: &ServiceId| Some(self.runners.get(id.0)?.service.name.as_str());
                let names: Vec<&str> = left.iter().filter_map(name).collect();
                if !names.is_empty() {
                    say!("these refuse to die, even killed: {}", names.join(", "));
                }
            }
        }
    }

    /// The runner of a service, if its present life is that run.
    fn runner_of(&mut self, id: ServiceId, run: Run) -> Option<&mut Runner> {
        let runner = self.runners.get_mut(id.0)?;
        runner.life.as_ref().is_some_and(|life| life.run == run).then_some(runner)
    }

    fn spawn(&mut self, id: ServiceId, run: Run, now: Duration) {
        let Some(runner) = self.runners.get_mut(id.0) else { return };
        let surroundings = Surroundings {
            accounts: &self.accounts,
            tree: &self.tree,
            notify_folder: &self.places.notify,
            gives_rights: self.gives_rights,
        };
        if let Err(error) = runner.start(run, &surroundings, &self.input) {
            let text = error.to_string();
            self.start_failed(id.0, run, &text, now);
        }
    }

    pub(super) fn start_failed(&mut self, place: usize, run: Run, why: &str, now: Duration) {
        self.remark(place, ConsoleLevel::Error, why, now);
        self.news.push_back(Event::Process(ServiceId(place), run, Report::SpawnFailed));
    }

    fn begin_probe(&mut self, id: ServiceId, run: Run, now: Duration) {
        let Some(runner) = self.runners.get_mut(id.0) else { return };
        match Probe::of(&runner.service, &self.context) {
            Ok(probe) => {
                if let Some(life) = runner.life.as_mut().filter(|life| life.run == run) {
                    life.probe = probe;
                }
                self.look(id.0, now, false);
            }
            Err(why) => self.remark(id.0, ConsoleLevel::Error, &why, now),
        }
    }

    /// Says something about a service: in its journal always, on the console if it is important.
    pub(super) fn remark(&mut self, place: usize, level: ConsoleLevel, text: &str, now: Duration) {
        self.journal.note(place, now, format_args!("{text}"));
        if words::is_shown(level, self.console_level) {
            console::line_about(self.journal.name(place), text);
        }
    }

    /// Shows what services wrote, on a console that shows everything.
    pub(super) fn show_new_lines(&mut self) {
        if self.console_level == ConsoleLevel::Debug {
            for record in self.journal.since(None, self.shown) {
                if record.kind != logs::Kind::Note {
                    console::relay(format_args!("{}", self.journal.show(record)));
                }
            }
        }
        self.shown = self.journal.last_seq();
    }
}
