//! What has to happen, and by when.

use std::thread;
use std::time::{Duration, Instant};

use ledger::{Finding, Micros, Verdict};

use super::{Drill, Expected, LOOK_AGAIN, SILENT_ADVERTS};
use crate::rig::expect::{Condition, Scene};
use crate::rig::fault::{Node, Stop};

/// What happens later than it may is waited for so much longer, to say how late it was.
const TO_SEE_HOW_LATE: Duration = Duration::from_secs(3);
/// How much of an advert the desk may be late before it proves nothing.
const LAG_DIVISOR: u32 = 4;
/// A desk that was late once was busy for longer. So many times its worst lag it may have held up a
/// machine, and what lasted longer wasn't its doing.
const LAG_STRETCH: u32 = 20;

impl Drill {
    /// Waits until something happens; it must within a time from the last mark. Gives when it did,
    /// counted from there.
    #[allow(clippy::needless_pass_by_value)] // Conditions are written where they are expected.
    pub fn expect(
        &mut self,
        what: &str,
        condition: Condition,
        limit: Duration,
    ) -> Result<Duration, Stop> {
        let from = self.mark;
        let met = self.watch(&condition, from, limit)?;
        let deadline = from + limit;
        if met.is_none() {
            self.was_waited_until(deadline)?;
        }
        self.expected.push(Expected { what: what.to_owned(), from, deadline, met });
        let after = met.map(|met| met.saturating_sub(from));
        match after {
            Some(after) if after <= limit => {
                let (after, limit) = (after.as_millis(), limit.as_millis());
                self.note(format!("ok    {what}: after {after} ms of {limit} ms"));
            }
            Some(after) => {
                let (after, limit) = (after.as_millis(), limit.as_millis());
                let late = format!("{what}: after {after} ms, allowed {limit} ms");
                return Err(self.late(from, late));
            }
            None => {
                let limit = limit.as_millis();
                return Err(self.late(from, format!("{what}: not within {limit} ms")));
            }
        }
        Ok(after.unwrap_or_default())
    }

    /// What didn't happen in time proves nothing on a desk that wasn't in time itself.
    pub(super) fn late(&self, since: Duration, what: String) -> Stop {
        let lag = self.lag.worst_since(since);
        let allowed = self.interval() / LAG_DIVISOR;
        if lag > allowed {
            let (lag, allowed) = (lag.as_millis(), allowed.as_millis());
            return Stop::Unknown(format!(
                "{what}; but the desk lagged {lag} ms ({allowed} allowed)"
            ));
        }
        Stop::Violated(what)
    }

    /// When a condition was met; for silence, the deadline, if it was silent after it.
    fn watch(
        &mut self,
        condition: &Condition,
        from: Duration,
        limit: Duration,
    ) -> Result<Option<Duration>, Stop> {
        let end = from + limit;
        let longest = (end + TO_SEE_HOW_LATE).saturating_sub(self.now()).min(self.time_left()?);
        match condition {
            Condition::Heard(node, is_it) => {
                let scene = self.scene(*node)?;
                let found = self.cluster.switch.wait_for(longest, |wire| {
                    wire.since(from).find(|heard| is_it(heard, &scene)).map(|heard| heard.at)
                });
                Ok(found)
            }
            Condition::Silent(node, is_it) => {
                let scene = self.scene(*node)?;
                let watched = end + self.adverts(SILENT_ADVERTS);
                self.let_pass(watched.saturating_sub(self.now()))?;
                let last = self.cluster.switch.with_wire(|wire| {
                    let said = wire.since(from).filter(|heard| is_it(heard, &scene));
                    said.last().map(|heard| heard.at)
                });
                Ok(Some(last.unwrap_or(from)))
            }
            Condition::Said(node, part) => {
                let console = self.machine(*node)?.console.clone();
                Ok(console.wait_since(from, part, longest).map(|line| line.after))
            }
            Condition::Fact(node, is_true) => {
                self.ask_until(longest, || Ok(is_true(&self.probe(*node)?.facts()?)))
            }
            Condition::Keeper(node, is_true) => self.ask_until(longest, || {
                Ok(self.keeper(*node).is_some_and(|status| is_true(&status)))
            }),
            Condition::Backups(node, is_true) => self.ask_until(longest, || {
                Ok(self.backups(*node).is_some_and(|status| is_true(&status)))
            }),
            Condition::PowerCutAsked(node) => {
                self.ask_until(longest, || self.power_cut_is_asked(*node))
            }
            Condition::Off(node) => {
                let off = self.machine(*node)?.wait_for_end(longest)?;
                Ok(off.then(|| self.now()))
            }
            Condition::Answered => {
                let clients = self.clients.ok_or_else(|| Stop::Unknown("no clients".to_owned()))?;
                let tester = self.tester_probe()?;
                let start = Micros::from(from);
                Ok(tester.wait_for(longest, clients.offset, |operation| {
                    let new = operation.invoked >= start && operation.is_ok();
                    new.then(|| operation.completed.into())
                }))
            }
        }
    }

    /// When a question that is asked again and again was first answered by yes.
    fn ask_until(
        &self,
        longest: Duration,
        holds: impl Fn() -> Result<bool, Stop>,
    ) -> Result<Option<Duration>, Stop> {
        let deadline = Instant::now() + longest;
        loop {
            let asked = self.now();
            if holds()? {
                return Ok(Some(asked));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn scene(&self, node: Node) -> Result<Scene, Stop> {
        let vip = self.vip()?;
        Ok(Scene { vrid: vip.vrid, address: vip.address, port: self.port(node) })
    }

    /// The same for what was too long by so much. Emulated machines are held up for longer than the
    /// desk was late, but not for any time.
    pub(super) fn unless_the_desk_lagged_by(&self, excess: Duration, finding: Finding) -> Finding {
        if excess > self.lag.worst_since(self.formed) * LAG_STRETCH {
            return finding;
        }
        self.unless_the_desk_lagged(finding)
    }

    /// What is about time proves nothing on a desk that wasn't in time itself.
    pub(super) fn unless_the_desk_lagged(&self, finding: Finding) -> Finding {
        if finding.verdict != Verdict::Violated {
            return finding;
        }
        match self.late(self.formed, finding.reasons.join("; ")) {
            Stop::Violated(_) => finding,
            Stop::Unknown(why) => Finding::unknown(&finding.check, why),
        }
    }
}
