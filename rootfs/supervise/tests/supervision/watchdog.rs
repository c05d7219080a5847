//! When the hardware watchdog is fed, and when not.

use std::time::Duration;

use serde_json::Value;
use supervise::{
    ABSENCE, Action, Event, Exit, LOOP_SILENCE, Report, Run, ServiceId, State, Supervisor,
    UNKILLABLE_AFTER, Wish,
};

use crate::world::{ms, service};

/// A keeper that is ready at 1 s and must say "alive" every 2 s; and its supervisor.
fn keeper() -> (Supervisor, ServiceId) {
    let keeper = service("name = \"keeper\"\nready = { kind = \"notify\" }\nwatchdog = \"2s\"");
    let mut supervisor = Supervisor::new(&[keeper], &Value::Null).expect("a graph");
    let id = supervisor.find("keeper").expect("known");
    supervisor.step(ms(0), Event::Tick);
    supervisor.step(ms(500), Event::Process(id, Run(1), Report::Spawned));
    supervisor.step(ms(1000), Event::Process(id, Run(1), Report::Ready));
    (supervisor, id)
}

fn fed(supervisor: &mut Supervisor, now: Duration) -> bool {
    supervisor.step(now, Event::Tick);
    supervisor.may_feed_watchdog(now)
}

/// Whether a step at a time kills the keeper's first run.
fn kills(supervisor: &mut Supervisor, id: ServiceId, now: Duration) -> bool {
    supervisor.step(now, Event::Tick).contains(&Action::KillGroup(id, Run(1)))
}

#[test]
fn a_source_that_falls_silent_is_killed_and_started_again_after_a_pause() {
    let (mut supervisor, id) = keeper();
    assert!(!kills(&mut supervisor, id, ms(2000)));
    supervisor.step(ms(2500), Event::Process(id, Run(1), Report::Alive));
    assert!(!kills(&mut supervisor, id, ms(4499)));
    assert!(kills(&mut supervisor, id, ms(4500)));
    assert!(fed(&mut supervisor, ms(4501)), "a kill is a fence");
    supervisor.step(ms(4502), Event::Process(id, Run(1), Report::Exited(Exit::Signal(9))));
    assert_eq!(supervisor.state(id), Some(State::BackOff), "it has failed");
}

#[test]
fn a_life_sign_of_an_earlier_run_does_not_count() {
    let (mut supervisor, id) = keeper();
    supervisor.step(ms(2500), Event::Process(id, Run(0), Report::Alive));
    assert!(kills(&mut supervisor, id, ms(3000)));
}

#[test]
fn a_loop_that_was_away_blames_nobody() {
    let (mut supervisor, id) = keeper();
    let back = ms(1000) + ABSENCE + ms(7000);
    assert!(!kills(&mut supervisor, id, back), "it may have spoken meanwhile");
    assert!(!kills(&mut supervisor, id, back + ms(1999)));
    assert!(kills(&mut supervisor, id, back + ms(2000)));
}

#[test]
fn the_loop_must_step() {
    let supervisor = Supervisor::new(&[], &Value::Null).expect("a graph");
    assert!(supervisor.may_feed_watchdog(LOOP_SILENCE));
    assert!(!supervisor.may_feed_watchdog(LOOP_SILENCE + ms(1)));
}

#[test]
fn a_source_without_a_process_harms_nobody() {
    let (mut supervisor, id) = keeper();
    supervisor.step(ms(2000), Event::Process(id, Run(1), Report::Exited(Exit::Signal(11))));
    assert!(fed(&mut supervisor, ms(2100)));
    assert!(fed(&mut supervisor, ms(30_000)));
}

#[test]
fn a_source_that_can_not_be_killed_ends_in_a_reset() {
    let (mut supervisor, id) = keeper();
    supervisor.step(ms(2000), Event::Operator(id, Wish::Stop));
    let killed = ms(12_000);
    assert!(fed(&mut supervisor, killed));
    assert!(fed(&mut supervisor, killed + UNKILLABLE_AFTER));
    assert!(!fed(&mut supervisor, killed + UNKILLABLE_AFTER + ms(1)));
}
