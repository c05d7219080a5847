//! Running checks and what their results mean.

use std::time::Duration;

use super::{Daemon, Due, Source};
use crate::config::Subject;
use crate::health::{self, Opinion};
use crate::report;
use crate::shell::probe::Progress;

impl Daemon {
    /// Starts the first attempt of each; until they have results, routers are as unfit as these say.
    pub(super) fn begin_checks(&mut self, now: Duration) {
        for index in 0..self.checks.len() {
            self.schedule.set(Due::Check(index), now);
        }
        for index in 0..self.units.len() {
            self.judge(now, index);
        }
    }

    pub(super) fn start_check(&mut self, now: Duration, index: usize) {
        let Some(check) = self.checks.get_mut(index) else { return };
        if check.probe.is_running() {
            return;
        }
        check.started_at = now;
        match check.probe.start(&self.landscape) {
            Progress::Good => self.conclude(now, index, true),
            Progress::Bad => self.conclude(now, index, false),
            Progress::Waiting => {
                let timeout = now.saturating_add(check.probe.config.timeout);
                self.schedule.set(Due::CheckTimeout(index), timeout);
                let descriptor = check.probe.descriptor();
                let waits = descriptor
                    .map(|descriptor| self.poller.add_writable(descriptor, Source::Probe(index)));
                if let Some(Err(_)) = waits {
                    self.end_check(now, index);
                }
            }
        }
    }

    pub(super) fn go_on_with_check(&mut self, now: Duration, index: usize) {
        let Some(check) = self.checks.get_mut(index) else { return };
        match check.probe.go_on() {
            Progress::Good => self.conclude(now, index, true),
            Progress::Bad => self.conclude(now, index, false),
            // What was to be written is written; from now on only the answer matters.
            Progress::Waiting => {
                if let Some(descriptor) = check.probe.descriptor() {
                    let _ = self.poller.wait_readable(descriptor, Source::Probe(index));
                }
            }
        }
    }

    /// Its time is up.
    pub(super) fn end_check(&mut self, now: Duration, index: usize) {
        let Some(check) = self.checks.get_mut(index) else { return };
        if let Some(descriptor) = check.probe.descriptor() {
            self.poller.remove(descriptor);
        }
        check.probe.abandon();
        self.conclude(now, index, false);
    }

    pub(super) fn hear_of_children(&mut self, now: Duration) {
        for index in 0..self.checks.len() {
            let Some(check) = self.checks.get_mut(index) else { return };
            check.probe.bury();
            if check.probe.is_running() && check.probe.descriptor().is_none() {
                self.go_on_with_check(now, index);
            }
        }
    }

    /// Carrier is known the moment it changes.
    pub(super) fn look_at_carriers(&mut self, now: Duration) {
        for index in 0..self.checks.len() {
            let carrier = self
                .checks
                .get(index)
                .is_some_and(|check| matches!(check.probe.config.subject, Subject::Carrier(_)));
            if carrier {
                self.start_check(now, index);
            }
        }
    }

    /// Takes one result and plans the next attempt.
    fn conclude(&mut self, now: Duration, index: usize, good: bool) {
        self.schedule.cancel(Due::CheckTimeout(index));
        let Some(check) = self.checks.get_mut(index) else { return };
        let next = check.started_at.saturating_add(check.probe.config.interval);
        self.schedule.set(Due::Check(index), next.max(now));
        if !check.health.observe(good) {
            return;
        }
        let instance = check.probe.instance.clone();
        let verdict = report::verdict(check.health.verdict());
        let name = &check.probe.config.name;
        self.log.line(format_args!("check {instance}/{name}: {verdict}"));
        for index in 0..self.units.len() {
            let of = self.units.get(index).map(|unit| &unit.router.settings().instance);
            if of == Some(&instance) {
                self.judge(now, index);
            }
        }
    }

    /// Lets a router know what its checks add up to.
    fn judge(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let settings = unit.router.settings();
        let own = self.checks.iter().filter(|check| check.probe.instance == settings.instance);
        let opinions = own.map(|check| Opinion {
            name: &check.probe.config.name,
            weight: check.probe.config.weight,
            verdict: check.health.verdict(),
        });
        let standing = health::standing(settings.priority, opinions);
        let actions = unit.router.set_standing(now, standing);
        self.act(now, index, actions);
    }
}
