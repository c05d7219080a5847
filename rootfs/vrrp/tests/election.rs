//! The election's rules, one sentence each.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::election::{ADVERT_GAP, ANNOUNCE_AGAIN, ANNOUNCE_GAP, DEFENCE_GAP};
use vrrp::{Action, Config, Election, Event, Heard, Interval, Priority, State, Version};

/// Our address ends in 2, so that a tie can go either way.
const OURS: [u8; 4] = [10, 0, 0, 2];
const SKEW: Duration = Duration::from_micros(609_375);
const DOWN: Duration = Duration::from_micros(3_609_375);
const SECOND: Duration = Duration::from_secs(1);
/// When all that follows a takeover at `DOWN` is over, and nothing but adverts is due for long.
const CALM: Duration = Duration::from_secs(10);

fn priority(priority: u8) -> Priority {
    Priority::new(priority).expect("not zero")
}

fn config() -> Config {
    Config {
        version: Version::V3,
        priority: Priority::DEFAULT,
        interval: Interval::from_seconds(1).expect("fits"),
        primary: IpAddr::from(OURS),
        preempt: true,
        preempt_delay: Duration::ZERO,
        permit_required: false,
        refresh: Some(Duration::from_secs(30)),
    }
}

fn heard(priority: u8, last_byte: u8) -> Event {
    let interval = Interval::from_seconds(1).expect("fits");
    Event::Advert(Heard { priority, interval, source: IpAddr::from([10, 0, 0, last_byte]) })
}

fn send(of: u8) -> Action {
    Action::SendAdvert { priority: priority(of) }
}

fn timer(at: Duration) -> Action {
    Action::SetTimer { at }
}

fn backup(config: Config) -> Election {
    let mut election = Election::new(config);
    election.step(Duration::ZERO, Event::Startup);
    assert_eq!(election.state(), State::Backup);
    election
}

/// Delivers the timer when it is due, the first time as given, until the end; when it announced.
fn run(election: &mut Election, first: Duration, end: Duration) -> Vec<Duration> {
    let mut announced = Vec::new();
    let mut now = first;
    while now < end {
        let actions = election.step(now, Event::Timer);
        announced.extend(actions.contains(&Action::Announce).then_some(now));
        let Some(Action::SetTimer { at }) = actions.last() else {
            panic!("an Active always has a timer: {actions:?}");
        };
        now = *at;
    }
    announced
}

/// Active since `DOWN`, by silence; the timer was delivered until `CALM`.
fn active(config: Config) -> Election {
    let mut election = backup(config);
    run(&mut election, DOWN, CALM);
    assert_eq!(election.state(), State::Active);
    election
}

#[test]
fn a_router_starts_as_backup_and_waits_the_down_interval() {
    let mut election = Election::new(config());
    assert_eq!(election.step(Duration::ZERO, Event::Startup), [timer(DOWN)]);
    assert_eq!(election.state(), State::Backup);
}

#[test]
fn the_owner_starts_as_active() {
    let mut election = Election::new(Config { priority: Priority::OWNER, ..config() });
    let actions = election.step(Duration::ZERO, Event::Startup);
    let again = timer(ANNOUNCE_AGAIN[0]);
    let expected = [send(255), Action::AddAddresses, Action::Announce, again];
    assert_eq!(actions, expected);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn silence_makes_a_backup_active_and_not_a_nanosecond_earlier() {
    let mut election = backup(config());
    let early = DOWN.checked_sub(Duration::from_nanos(1)).expect("positive");
    assert_eq!(election.step(early, Event::Timer), [timer(DOWN)]);
    let actions = election.step(DOWN, Event::Timer);
    let again = timer(DOWN + ANNOUNCE_AGAIN[0]);
    let expected = [send(100), Action::AddAddresses, Action::Announce, again];
    assert_eq!(actions, expected);
}

#[test]
fn an_advert_of_an_equal_or_better_active_restarts_the_wait() {
    for theirs in [100, 200, 255] {
        let mut election = backup(config());
        assert_eq!(election.step(SECOND, heard(theirs, 1)), [timer(SECOND + DOWN)]);
        assert_eq!(election.state(), State::Backup);
    }
}

#[test]
fn a_preempting_backup_discards_a_lesser_advert() {
    let mut election = backup(config());
    assert_eq!(election.step(SECOND, heard(99, 3)), []);
    election.step(DOWN, Event::Timer);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn without_preemption_a_lesser_active_stays() {
    let mut election = backup(Config { preempt: false, ..config() });
    for seconds in 1..20 {
        let now = SECOND * seconds;
        election.step(now, heard(1, 1));
        election.step(now, Event::Timer);
        assert_eq!(election.state(), State::Backup);
    }
}

#[test]
fn the_owner_preempts_whatever_is_configured() {
    let mut election = backup(Config { preempt: false, ..config() });
    election.step(Duration::ZERO, Event::PriorityChanged(Priority::OWNER));
    election.step(SECOND, heard(254, 1));
    election.step(DOWN, Event::Timer);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn preemption_waits_for_its_delay() {
    let delay = Duration::from_secs(10);
    let mut election = backup(Config { preempt_delay: delay, ..config() });
    for seconds in 1..=10 {
        election.step(SECOND * seconds, heard(50, 1));
        election.step(SECOND * seconds, Event::Timer);
        assert_eq!(election.state(), State::Backup, "after {seconds} s");
    }
    // The delay runs from the first lesser advert, at 1 s; that at 10 s was the last to count.
    election.step(SECOND * 11, heard(50, 1));
    election.step(SECOND * 10 + DOWN, Event::Timer);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn a_resignation_shortens_the_wait_to_the_skew() {
    let mut election = backup(config());
    assert_eq!(election.step(SECOND, heard(0, 1)), [timer(SECOND + SKEW)]);
    election.step(SECOND + SKEW, Event::Timer);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn a_backup_waits_by_the_interval_of_the_active() {
    let mut election = backup(config());
    let interval = Interval::from_centiseconds(10).expect("fits");
    let quick = Heard { priority: 200, interval, source: IpAddr::from([10, 0, 0, 1]) };
    let down = interval.down(Version::V3, Priority::DEFAULT);
    assert_eq!(election.step(SECOND, Event::Advert(quick)), [timer(SECOND + down)]);
    // Once Active, our own interval holds again.
    let mut sends =
        |after: Duration| election.step(SECOND + down + after, Event::Timer).contains(&send(100));
    assert!(sends(Duration::ZERO) && !sends(SECOND / 2) && sends(SECOND));
}

#[test]
fn an_active_yields_to_higher_priority_and_then_provokes_its_announcement() {
    let mut election = active(config());
    let actions = election.step(CALM, heard(101, 1));
    assert_eq!(actions, [Action::Release, send(100), timer(CALM + DOWN)]);
    assert_eq!(election.state(), State::Backup);
}

#[test]
fn a_tie_goes_to_the_higher_address() {
    let mut election = active(config());
    election.step(CALM, heard(100, 1));
    assert_eq!(election.state(), State::Active);
    election.step(CALM, heard(100, 3));
    assert_eq!(election.state(), State::Backup);
}

#[test]
fn addresses_are_compared_as_unsigned_numbers() {
    let mut election = active(config());
    let interval = Interval::from_seconds(1).expect("fits");
    let source = IpAddr::from([200, 0, 0, 1]);
    election.step(CALM, Event::Advert(Heard { priority: 100, interval, source }));
    assert_eq!(election.state(), State::Backup);
}

#[test]
fn an_active_answers_a_losing_advert_at_once_and_announces_again() {
    let mut election = active(config());
    let actions = election.step(CALM, heard(99, 3));
    assert_eq!(actions, [send(100), Action::Announce, timer(CALM + SECOND)]);
}

#[test]
fn an_active_answers_a_resignation_with_an_advert() {
    let mut election = active(config());
    assert_eq!(election.step(CALM, heard(0, 1)), [send(100), timer(CALM + SECOND)]);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn a_flood_of_losing_adverts_is_answered_at_a_bounded_rate() {
    let mut election = active(config());
    let mut sent = 0;
    for step in 0..10_000_u32 {
        let now = CALM + Duration::from_micros(100) * step;
        let mut actions = election.step(now, heard(1, 1));
        actions.extend(election.step(now, Event::Timer));
        sent += actions.iter().filter(|action| **action == send(100)).count();
    }
    let most = usize::try_from(SECOND.as_millis() / ADVERT_GAP.as_millis()).expect("fits");
    assert!((most / 2..=most + 1).contains(&sent), "{sent} adverts in a second");
}

#[test]
fn our_own_advert_is_not_a_rival() {
    let mut election = active(config());
    assert_eq!(election.step(CALM, heard(100, OURS[3])), []);
    let mut election = backup(config());
    assert_eq!(election.step(SECOND, heard(255, OURS[3])), []);
}

#[test]
fn an_active_adverts_every_interval() {
    let mut election = active(config());
    // The last one before was six intervals after the takeover.
    for count in 7..10 {
        let now = DOWN + SECOND * count;
        assert_eq!(election.step(now, Event::Timer), [send(100), timer(now + SECOND)]);
    }
}

#[test]
fn shutdown_releases_before_it_resigns() {
    let mut election = active(config());
    let actions = election.step(CALM, Event::Shutdown);
    assert_eq!(actions, [Action::Release, Action::SendPriorityZero, Action::CancelTimer]);
    assert_eq!(election.state(), State::Initialize);
    let mut election = backup(config());
    assert_eq!(election.step(SECOND, Event::Shutdown), [Action::CancelTimer]);
}

#[test]
fn a_lost_interface_releases_without_sending_and_comes_back_as_backup() {
    let mut election = active(config());
    let actions = election.step(CALM, Event::InterfaceDown);
    assert_eq!(actions, [Action::Release, Action::CancelTimer]);
    assert_eq!(election.step(CALM * 2, Event::InterfaceUp), [timer(CALM * 2 + DOWN)]);
    assert_eq!(election.state(), State::Backup);
    election.step(CALM * 3, Event::Shutdown);
    assert_eq!(election.step(CALM * 4, Event::InterfaceUp), []);
    assert_eq!(election.state(), State::Initialize, "a stopped router stays stopped");
}

/// The announcements after a takeover at `DOWN`, as times since then.
fn announcements(refresh: Option<Duration>, end: Duration) -> Vec<Duration> {
    let mut election = backup(Config { refresh, ..config() });
    let announced = run(&mut election, DOWN, DOWN + end);
    announced.into_iter().map(|at| at.saturating_sub(DOWN)).collect()
}

#[test]
fn a_takeover_is_announced_with_growing_gaps_and_then_at_the_refresh_interval() {
    let takeover: Vec<Duration> = [Duration::ZERO].into_iter().chain(ANNOUNCE_AGAIN).collect();
    let gaps: Vec<Duration> =
        takeover.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    assert!(gaps[0] >= ANNOUNCE_GAP && gaps.is_sorted(), "{gaps:?}");
    assert_eq!(announcements(None, SECOND * 70), takeover, "and never again without a refresh");
    let refreshed = [takeover, vec![SECOND * 35, SECOND * 65]].concat();
    assert_eq!(announcements(Some(SECOND * 30), SECOND * 70), refreshed);
}

#[test]
fn a_short_refresh_adds_to_the_announcements_of_a_takeover() {
    let tenths = [0, 2, 6, 14, 29, 44, 50, 65, 80];
    let expected = tenths.map(|tenth| SECOND / 10 * tenth);
    assert_eq!(announcements(Some(SECOND * 3 / 2), SECOND * 9), expected);
}

#[test]
fn what_is_provoked_after_a_takeover_takes_nothing_from_its_announcements() {
    let mut election = backup(Config { refresh: None, ..config() });
    let claimed = DOWN + SECOND / 2;
    run(&mut election, DOWN, claimed);
    assert!(election.step(claimed, Event::ForeignClaim).contains(&Action::Announce));
    // That at 0.6 s would follow too closely, and say nothing new.
    let later = run(&mut election, DOWN + SECOND, DOWN + SECOND * 9);
    assert_eq!(later, [DOWN + ANNOUNCE_AGAIN[2], DOWN + ANNOUNCE_AGAIN[3]]);
}

/// Somebody claims an address every ten milliseconds; when that is answered.
fn answers(election: &mut Election, from: Duration, seconds: u32) -> Vec<Duration> {
    let instants = (0..seconds * 100).map(|step| from + Duration::from_millis(10) * step);
    let answered = |now: &Duration| {
        let mut actions = election.step(*now, Event::ForeignClaim);
        actions.extend(election.step(*now, Event::Timer));
        actions.contains(&Action::Announce)
    };
    instants.filter(answered).collect()
}

/// Of two Actives that hear no adverts of each other, each takes the other's answers for claims.
#[test]
fn claims_that_do_not_end_are_answered_ever_more_seldom() {
    let mut election = active(Config { refresh: None, ..config() });
    let first = answers(&mut election, CALM, 120);
    assert_eq!(first[..3], [CALM, CALM + ANNOUNCE_GAP, CALM + ANNOUNCE_GAP * 3]);
    let gaps: Vec<Duration> =
        first.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    assert!(gaps.is_sorted() && gaps.last() == Some(&DEFENCE_GAP), "{gaps:?}");
    let calm_again = CALM + SECOND * 120 + DEFENCE_GAP * 3;
    run(&mut election, CALM + SECOND * 120, calm_again);
    let again = answers(&mut election, calm_again, 1);
    assert_eq!(again.first(), Some(&calm_again), "a new quarrel is answered at once");
}

#[test]
fn a_foreign_claim_is_contradicted_and_the_last_word_is_ours() {
    let mut election = active(config());
    let first = CALM;
    assert!(election.step(first, Event::ForeignClaim).contains(&Action::Announce));
    let again = first + Duration::from_millis(1);
    let actions = election.step(again, Event::ForeignClaim);
    assert_eq!(actions, [timer(first + ANNOUNCE_GAP)]);
    let actions = election.step(first + ANNOUNCE_GAP, Event::Timer);
    assert!(actions.contains(&Action::Announce));
    let mut election = backup(config());
    assert_eq!(election.step(SECOND, Event::ForeignClaim), []);
}

#[test]
fn a_changed_priority_is_advertised_at_once_and_moves_the_wait() {
    let mut election = active(config());
    let actions = election.step(CALM, Event::PriorityChanged(priority(80)));
    assert_eq!(actions, [send(80), timer(CALM + SECOND)]);
    let mut election = backup(config());
    let sooner = config().interval.down(Version::V3, priority(200));
    let actions = election.step(SECOND, Event::PriorityChanged(priority(200)));
    assert_eq!(actions, [timer(sooner)]);
}

#[test]
fn without_a_permit_silence_changes_nothing() {
    let mut election = backup(Config { permit_required: true, ..config() });
    assert_eq!(election.step(DOWN, Event::Timer), []);
    assert_eq!(election.state(), State::Backup);
    let actions = election.step(SECOND * 9, Event::PermitGranted { until: SECOND * 12 });
    let again = timer(SECOND * 9 + ANNOUNCE_AGAIN[0]);
    let expected = [send(100), Action::AddAddresses, Action::Announce, again];
    assert_eq!(actions, expected, "the silence had passed already");
}

#[test]
fn a_permit_alone_does_not_end_the_wait() {
    let mut election = backup(Config { permit_required: true, ..config() });
    election.step(SECOND, Event::PermitGranted { until: SECOND * 60 });
    assert_eq!(election.state(), State::Backup);
    election.step(DOWN, Event::Timer);
    assert_eq!(election.state(), State::Active);
}

#[test]
fn an_owner_without_a_permit_starts_as_backup() {
    let owner = Config { priority: Priority::OWNER, permit_required: true, ..config() };
    backup(owner);
}

#[test]
fn a_lost_permit_releases_at_once_and_resigns() {
    let mut election = backup(Config { permit_required: true, ..config() });
    election.step(SECOND, Event::PermitGranted { until: SECOND * 60 });
    election.step(DOWN, Event::Timer);
    let actions = election.step(SECOND * 4, Event::PermitLost);
    assert_eq!(actions[..2], [Action::Release, Action::SendPriorityZero]);
    assert_eq!(election.state(), State::Backup);
}

#[test]
fn a_permit_that_ran_out_is_a_permit_lost_at_whichever_event() {
    let until = DOWN + ANNOUNCE_AGAIN[0] / 2;
    let events = [Event::Timer, heard(1, 1), Event::ForeignClaim, Event::Startup];
    for event in events {
        let mut election = backup(Config { permit_required: true, ..config() });
        election.step(SECOND, Event::PermitGranted { until });
        let actions = election.step(DOWN, Event::Timer);
        assert_eq!(actions.last(), Some(&timer(until)), "the timer is set to the permit's end");
        let actions = election.step(until, event);
        assert_eq!(actions[..2], [Action::Release, Action::SendPriorityZero]);
        assert_eq!(election.state(), State::Backup);
    }
}

#[test]
fn a_router_that_needs_no_permit_ignores_the_loss_of_one() {
    let mut election = active(config());
    assert_eq!(election.step(CALM, Event::PermitLost), []);
    assert_eq!(election.state(), State::Active);
}
