//! The way back to a moment, step by step as the page of the overlay `backup` tells it to operators.

use std::collections::BTreeSet;
use std::time::Duration;

use control::{Answer, PgRequest, Restore, RestoreTo};
use ledger::check::{enough, promises};
use ledger::{History, Kind};
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{Condition, backups, fact, keeper};
use qemu_tests::rig::fault::{Node, Stop};
use qemu_tests::rig::pair::ROWS_LEAST;

use super::{CRASH_BUDGET, HEAL_LIMIT, leads};

const KEEPER: &str = "pgkeeper";
/// pgBackRest reads everything once; emulated, that takes twenty seconds.
const BACKUP_LIMIT: Duration = Duration::from_mins(2);
/// It unpacks everything, and PostgreSQL replays the log after it.
const RESTORE_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const START_LIMIT: Duration = Duration::from_secs(30);
/// Clients write for so long before and after the moment.
const WRITE_FOR: Duration = Duration::from_secs(5);
/// No clients use up so many numbers.
const NUMBERS: u32 = 1_000_000;

pub(crate) fn restore(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    t.mark();
    let made = backups(primary, |status| !status.backups.is_empty());
    t.expect("the first base backup is made without being asked for", made, BACKUP_LIMIT)?;
    let wanted = write(t, 0)?;
    let moment = moment_that_is_over(t, primary)?;
    let mistakes = write(t, NUMBERS)?;

    for node in [standby, primary] {
        t.stop_service(node, KEEPER)?;
        let stopped = backups(node, |status| status.state == "pgkeeper is stopped");
        t.expect("its keeper is stopped", stopped, STOP_LIMIT)?;
    }
    let to = RestoreTo::Time { unix_ms: moment * 1000 };
    let order = PgRequest::Restore(Restore { to, accept_data_loss: true });
    accepted(t, "the restore", primary, order)?;
    let done = backups(primary, |status| {
        status.failure.is_some() || status.state == "pgkeeper is stopped"
    });
    t.expect("the restore is over", done, RESTORE_LIMIT)?;
    let failure = t.backups(primary).and_then(|status| status.failure);
    t.assert("and it didn't fail", failure.is_none(), format!("{failure:?}"));

    t.start_service(primary, KEEPER)?;
    t.expect("the keeper is back", takes_orders(primary), START_LIMIT)?;
    accepted(t, "to lead", primary, PgRequest::ForcePrimary { accept_data_loss: true })?;
    t.expect("it leads", leads(primary), CRASH_BUDGET)?;
    t.start_service(standby, KEEPER)?;
    t.settle_pair(HEAL_LIMIT)?;

    // Earlier rows, later ones, and nothing of what came between, or somebody would have invented it.
    let later = write(t, 2 * NUMBERS)?;
    let unwanted = left_of(&mistakes, &later);
    t.assert("nothing from after the moment is there", unwanted == 0, format!("{unwanted} rows"));
    let mut history = wanted;
    history.operations.extend(later.operations);
    for finding in promises(&history) {
        t.check(finding);
    }
    let had = t.backups(primary).map_or(0, |status| status.backups.len());
    accepted(t, "a base backup", primary, PgRequest::BackupNow)?;
    let another = backups(primary, move |status| status.backups.len() > had);
    t.expect("backups go on after the restore", another, BACKUP_LIMIT)?;
    t.check(t.single_owner());
    Ok(())
}

/// While it reads its record it refuses orders, and says so.
fn takes_orders(node: Node) -> Condition {
    keeper(node, |status| status.role != "booting")
}

/// Lets clients write for a while, whose numbers begin after this one.
fn write(t: &mut Drill, after: u32) -> Result<History, Stop> {
    let clients = t.start_later_writers(after)?;
    t.let_pass(WRITE_FOR)?;
    let history = t.finish_clients(clients)?;
    t.check(enough(&history, Kind::Append, ROWS_LEAST));
    Ok(history)
}

/// A second of the node's own clock that began after all that was written, and is over.
fn moment_that_is_over(t: &mut Drill, node: Node) -> Result<u64, Stop> {
    let moment = t.probe(node)?.facts()?.wall_seconds + 1;
    t.mark();
    let over = fact(node, move |facts| facts.wall_seconds > moment);
    t.expect("the moment to come back to is over", over, Duration::from_secs(5))?;
    Ok(moment)
}

fn accepted(t: &mut Drill, what: &str, node: Node, order: PgRequest) -> Result<(), Stop> {
    t.mark();
    let answer = t.order(node, order)?;
    let claim = format!("the order is accepted: {what}");
    t.assert(&claim, answer == Answer::Accepted, format!("{answer:?}"));
    Ok(())
}

/// How many acknowledged rows of the first are in what the second read at its end.
fn left_of(mistakes: &History, later: &History) -> usize {
    let read = later.acknowledged(Kind::Read).filter_map(|read| read.rows.as_ref()).last();
    let there: BTreeSet<u64> = read.into_iter().flatten().map(|row| row.1).collect();
    let values = mistakes.acknowledged(Kind::Append).filter_map(|append| append.value);
    values.filter(|value| there.contains(value)).count()
}
