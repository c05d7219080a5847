//! A database is made out of nothing once in a pair's life, whatever is lost later.

use std::time::Duration;

use failover::{
    Action, Arbiter, Configuration, Data, Epoch, Event, Failover, Members, PgCommand, Policy,
    Recall, Record, Rules, Settings, Side, Times,
};

fn founder() -> Record {
    let config = Configuration {
        epoch: Epoch(2).next_for(Side::A),
        base: Epoch(0),
        leader: Side::A,
        members: Members::Leader,
    };
    Record { voter: true, fresh: true, config, promised: config.epoch, ..Record::blank(1, Side::A) }
}

/// What a founder does in its first minute after a boot on this data, alone.
fn first_minute(data: Data) -> Vec<Action> {
    let mut core = Failover::new(Settings {
        cluster: 1,
        side: Side::A,
        arbiter: Arbiter::Policy(Policy::Consistency),
        times: Times::default(),
        rules: Rules::ALL,
    });
    let mut actions = Vec::new();
    let boot = Event::Boot { recall: Recall::Found(founder()), data, nonce: 7 };
    core.step(Duration::from_secs(1), &boot, &mut actions);
    for second in 2..60 {
        core.step(Duration::from_secs(second), &Event::Tick, &mut actions);
    }
    actions
}

fn is_init(action: &Action) -> bool {
    matches!(action, Action::Postgres(_, PgCommand::InitDb))
}

#[test]
fn a_founder_without_data_makes_a_database() {
    assert!(first_minute(Data::Missing).iter().any(is_init));
}

/// The crash came between the database and the note that it was made.
#[test]
fn a_founder_with_data_notes_that_it_was_made() {
    let actions = first_minute(Data::Primary);
    assert!(!actions.iter().any(is_init));
    let noted = actions.iter().any(|action| matches!(action, Action::Persist(_, it) if !it.fresh));
    assert!(noted, "{actions:?}");
}
