//! When the core wants to be stepped next: never at a time that is over.

use std::time::Duration;

use failover::{
    Action, Arbiter, Data, Event, Failover, Policy, Recall, Rules, Settings, Side, Ticket, Times,
};

/// A shell that is woken at once would spin, with real-time priority.
#[test]
fn a_node_that_cannot_write_sleeps_between_its_ticks() {
    let mut core = Failover::new(Settings {
        cluster: 1,
        side: Side::A,
        arbiter: Arbiter::Policy(Policy::Consistency),
        times: Times::default(),
        rules: Rules::ALL,
    });
    let mut actions = Vec::new();
    let boot = Event::Boot { recall: Recall::Missing, data: Data::Missing, nonce: 7 };
    core.step(Duration::from_secs(1), &boot, &mut actions);
    core.step(Duration::from_secs(2), &Event::PersistFailed(Ticket(1)), &mut actions);
    for second in 3..9 {
        actions.clear();
        core.step(Duration::from_secs(second), &Event::Tick, &mut actions);
        assert!(core.wake_at() > Duration::from_secs(second));
        let says = actions.iter().any(|action| matches!(action, Action::Send(_)));
        assert!(!says, "what can't be written can't be told: {actions:?}");
    }
}
