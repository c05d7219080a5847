//! What happens to services, as it comes from the kernel, becomes news for the supervisor.

use std::time::Duration;

use logs::Harmless;
use seed::manifest::Ready;
use seed::section::ConsoleLevel;
use supervise::{Event, Report, Run, ServiceId};
use sys::process::Verdict;

use super::notice::{self, NOTICE_MAX_BYTES, Notice};
use super::notify::{NOTICES_PER_TURN, cgroups_of};
use super::probe::Look;
use super::{COMPLAIN_AFTER, Services, launch};

impl Services {
    /// Reads how a start went.
    pub(super) fn take_verdict(&mut self, place: usize, now: Duration) {
        let Some(runner) = self.runners.get_mut(place) else { return };
        let Some(life) = &mut runner.life else { return };
        let run = life.run;
        match life.verdict() {
            Verdict::Pending => {}
            Verdict::Running => self.report(place, run, Report::Spawned),
            Verdict::Failed { step, place: which, error } => {
                let why = launch::explain(&runner.service, step, which, &error);
                // The child ends by itself and is reaped like any orphan.
                runner.end_life();
                self.start_failed(place, run, &why, now);
            }
        }
    }

    /// If a service's process has ended: kills what it left, and once that is gone, reports the end.
    pub(super) fn settle(&mut self, place: usize, now: Duration) {
        let has_ended = |services: &Self| {
            services.runners.get(place).and_then(|runner| runner.life.as_ref()?.ended)
        };
        let Some(exit) = has_ended(self) else { return };
        self.take_verdict(place, now);
        // A failed start was reported as such, and its record is gone.
        if has_ended(self).is_none() {
            return;
        }
        let Some(runner) = self.runners.get_mut(place) else { return };
        let Some(life) = &mut runner.life else { return };
        let run = life.run;
        if life.group.is_populated() {
            let killed = life.group.kill();
            let complain_at = *life.complain_at.get_or_insert(now.saturating_add(COMPLAIN_AFTER));
            if complain_at <= now {
                life.complain_at = Some(now.saturating_add(COMPLAIN_AFTER));
                let why = killed.err().map_or(String::new(), |error| format!(": {error}"));
                let text = format!("its process ended, but what it left can't be killed{why}");
                self.remark(place, ConsoleLevel::Error, &text, now);
            }
            return;
        }
        let lacked_memory = runner.lacked_memory();
        runner.end_life();
        self.take_output(place, now);
        self.journal.finish(place, now);
        if lacked_memory {
            let text = "the kernel killed a process of it: it used more than limits.memory";
            self.remark(place, ConsoleLevel::Warning, text, now);
        }
        self.report(place, run, Report::Exited(exit));
    }

    /// Reads what a service says of itself. How its start went is read first: whoever says that it is
    /// ready has been started, and the supervisor would drop what comes before it knows that.
    pub(super) fn take_notices(&mut self, place: usize, now: Duration) {
        self.take_verdict(place, now);
        let mut buffer = [0; NOTICE_MAX_BYTES];
        for _ in 0..NOTICES_PER_TURN {
            let Some(runner) = self.runners.get_mut(place) else { return };
            let Some((length, sender)) = runner.notify().and_then(|it| it.receive(&mut buffer))
            else {
                return;
            };
            let Some(life) = &runner.life else { continue };
            let run = life.run;
            // The process itself can't be mistaken for another before it was reaped.
            let is_main = life.pid == sender && life.ended.is_none();
            let name = runner.service.name.as_str();
            let of_sender =
                || notice::run_of(&cgroups_of(sender), &self.places.tree_name, name).map(Run);
            if !is_main && of_sender() != Some(run) {
                continue;
            }
            let notice = notice::parse(buffer.get(..length).unwrap_or_default());
            self.take_notice(place, run, &notice);
        }
    }

    fn take_notice(&mut self, place: usize, run: Run, notice: &Notice<'_>) {
        let Some(runner) = self.runners.get_mut(place) else { return };
        if let Some(status) = notice.status {
            runner.status_text = Some(Harmless(status).to_string());
        } else if notice.stopping {
            runner.status_text = Some("stopping".to_owned());
        }
        // A service that is ready by another sign may say so as often as it likes.
        if notice.ready && runner.service.ready == Ready::Notify {
            self.report(place, run, Report::Ready);
        }
        if notice.alive {
            self.report(place, run, Report::Alive);
        }
    }

    /// Reads what a service wrote.
    pub(super) fn take_output(&mut self, place: usize, now: Duration) {
        let Some(output) = self.runners.get_mut(place).and_then(|runner| runner.output()) else {
            return;
        };
        let journal = &mut self.journal;
        output.read(|bytes| {
            journal.push(place, now, bytes);
        });
    }

    /// Lets a service's probe look for the sign of readiness.
    pub(super) fn look(&mut self, place: usize, now: Duration, has_happened: bool) {
        let Some(runner) = self.runners.get_mut(place) else { return };
        let Some(life) = &mut runner.life else { return };
        let (run, Some(probe)) = (life.run, &mut life.probe) else { return };
        match probe.look(now, has_happened) {
            Look::NotYet => {}
            Look::Start => runner.start_probe(now, &self.input),
            Look::Ready => {
                life.probe = None;
                self.report(place, run, Report::Ready);
            }
        }
    }

    fn report(&mut self, place: usize, run: Run, report: Report) {
        self.news.push_back(Event::Process(ServiceId(place), run, report));
    }
}
