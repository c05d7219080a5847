//! Talking to other processes: the holder of the permit, and whoever asks how it goes.

use std::time::Duration;

use vrrp::permit::Message;

use super::{Daemon, Due, Source};
use crate::permission::Change;
use crate::report::{CheckStatus, PermitStatus, RouterStatus, Status, verdict};
use crate::shell::control::{PATIENCE, Question, Step};
use crate::shell::permits::{Heard, MESSAGES_PER_TURN, Met};

/// Between two words on the same claim.
const CLAIMED_EVERY: Duration = Duration::from_millis(100);

impl Daemon {
    pub(super) fn meet_holder(&mut self, now: Duration) {
        let Some(permits) = &mut self.permits else { return };
        match permits.accept() {
            Ok(Met::Holder) => {
                let waits =
                    permits.holder().map(|holder| self.poller.add(holder, Source::PermitHolder));
                if let Some(Err(error)) = waits {
                    permits.hang_up();
                    self.log.line(format_args!("the holder of the permit is not heard: {error}"));
                    return;
                }
                self.log.line("the holder of the permit is connected");
                self.hear_holder(now);
            }
            Ok(Met::Second) => {
                self.log.complain(now, 0, "second", "a second holder of the permit was refused");
            }
            Ok(Met::Stranger(user)) => {
                let text = format!("user {user} may not hold the permit: see `permit_user`");
                self.log.complain(now, 0, "stranger", text);
            }
            Ok(Met::Nobody) => {}
            Err(error) => self.log.complain(now, 0, "holder", error),
        }
    }

    pub(super) fn hear_holder(&mut self, now: Duration) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(permits) = &mut self.permits else { return };
            match permits.hear() {
                Heard::Nothing => return,
                Heard::Message(message) => {
                    let change = self.permission.hear(now, message);
                    self.change_permit(now, &change);
                    self.report_to_holder(now);
                }
                Heard::Gone => {
                    let change = self.permission.holder_is_gone();
                    self.change_permit(now, &change);
                    self.log.line("the holder of the permit is gone");
                    return;
                }
                Heard::Garbled(error) => {
                    permits.hang_up();
                    self.log.line(format_args!("the holder of the permit was hung up on: {error}"));
                    let change = self.permission.holder_is_gone();
                    self.change_permit(now, &change);
                    return;
                }
            }
        }
    }

    fn change_permit(&mut self, now: Duration, change: &Change) {
        if let Change::Refused(reason) = change {
            self.log.complain(now, 0, "permit", reason);
        }
        for index in 0..self.units.len() {
            let Some(unit) = self.units.get_mut(index) else { return };
            if !unit.router.settings().permit_required {
                continue;
            }
            let actions = match change {
                Change::Granted { epoch, until } => unit.router.grant(now, *epoch, *until),
                Change::Lost(reason) => unit.router.withdraw(now, reason),
                Change::Refused(_) => continue,
            };
            self.act(now, index, actions);
        }
    }

    /// Tells the holder when a router took addresses that need its permit, or has let go of them all.
    pub(super) fn tell_holder(&mut self, now: Duration) {
        if self.permits.is_some() && self.held_by_permit() != self.told_held {
            self.report_to_holder(now);
        }
    }

    fn report_to_holder(&mut self, now: Duration) {
        let held = self.held_by_permit();
        self.told_held = held;
        let report = Message::Report { epoch: self.permission.highest(), held };
        if self.permits.as_ref().is_some_and(|permits| !permits.say(report)) {
            self.log.complain(now, 0, "report", "the holder of the permit does not read reports");
        }
    }

    /// Tells the holder that another router adverts an address of the permit's; at times, for adverts
    /// may come in a flood.
    pub(super) fn tell_claimed(&mut self, now: Duration) {
        let due = self.told_claimed.is_none_or(|at| now.saturating_sub(at) >= CLAIMED_EVERY);
        let Some(permits) = self.permits.as_ref().filter(|_| due) else { return };
        self.told_claimed = Some(now);
        // One that isn't taken is followed by the next.
        let _taken = permits.say(Message::Claimed { epoch: self.permission.highest() });
    }

    pub(super) fn meet_asker(&mut self, now: Duration) {
        if let Some((number, descriptor)) = self.control.accept(now) {
            // If it can't be waited for, it is forgotten with its patience.
            let _ = self.poller.add(descriptor, Source::ControlClient(number));
            self.schedule.set(Due::Impatience, now.saturating_add(PATIENCE));
        }
    }

    pub(super) fn hear_asker(&mut self, now: Duration, number: usize) {
        let Step::Asked(question) = self.control.go_on(number) else { return };
        let status = self.status(now);
        let answer = match question {
            Question::Status => status.text(),
            Question::StatusJson => status.json(),
            Question::Metrics => status.metrics(),
        };
        if let Some(descriptor) = self.control.answer(number, answer) {
            self.poller.remove(descriptor);
            let _ = self.poller.add_writable(descriptor, Source::ControlClient(number));
        }
    }

    fn status(&self, now: Duration) -> Status {
        let permit = self.permits.as_ref().map(|permits| PermitStatus {
            holder_connected: permits.holder().is_some(),
            epoch: self.permission.highest(),
            remaining_seconds: self
                .permission
                .current(now)
                .map(|(_, until)| until.saturating_sub(now).as_secs_f64()),
        });
        let checks = self.checks.iter().map(|check| CheckStatus {
            instance: check.probe.instance.clone(),
            name: check.probe.config.name.clone(),
            verdict: verdict(check.health.verdict()),
            weight: check.probe.config.weight,
        });
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: now.saturating_sub(self.started_at).as_secs_f64(),
            permit,
            routers: self.units.iter().map(|unit| RouterStatus::of(&unit.router, now)).collect(),
            checks: checks.collect(),
        }
    }
}
