//! What operators order, and what they must order because no node may decide it.

use control::{Answer, PgRequest};
use ledger::Kind;
use ledger::check::enough;
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{answers, claims, yields};
use qemu_tests::rig::fault::Stop;
use qemu_tests::rig::pair::ROWS_LEAST;

use super::{CRASH_BUDGET, HAND_OVER_BUDGET, HEAL_LIMIT, Stale, leads, leave_the_stale_one};

pub(crate) fn switchover(t: &mut Drill) -> Result<(), Stop> {
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    t.mark();
    let answer = t.order(primary, PgRequest::Switchover)?;
    t.assert("the order is accepted", answer == Answer::Accepted, format!("{answer:?}"));
    t.expect("the standby has the address", claims(standby), CRASH_BUDGET)?;
    t.expect("the old primary says nothing any more", yields(primary), CRASH_BUDGET)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, HAND_OVER_BUDGET)?;
    t.check(t.single_owner());
    t.check(t.owner_changes(1));
    Ok(())
}

/// The standby lacks rows that were acknowledged. It isn't promoted, and an operator who says that the
/// loss is accepted is obeyed.
pub(crate) fn guard_data_loss(t: &mut Drill) -> Result<(), Stop> {
    let Stale { primary, standby, primary_off, clients } = leave_the_stale_one(t)?;
    let refused = t.order(standby, PgRequest::ForcePrimary { accept_data_loss: false })?;
    let is_refusal = matches!(refused, Answer::Refused(_));
    t.assert("nor by an order that doesn't accept the loss", is_refusal, format!("{refused:?}"));
    let forced = t.order(standby, PgRequest::ForcePrimary { accept_data_loss: true })?;
    t.assert("the full order is accepted", forced == Answer::Accepted, format!("{forced:?}"));
    t.mark();
    t.expect("it leads", leads(standby), CRASH_BUDGET)?;
    t.expect("a row is acknowledged again", answers(), CRASH_BUDGET)?;
    t.heal(primary_off)?;
    t.wait_ready(primary)?;
    t.settle_pair(HEAL_LIMIT)?;
    // Rows are lost, as was ordered, so what is promised otherwise isn't judged here.
    let history = t.finish_clients(clients)?;
    t.check(enough(&history, Kind::Append, ROWS_LEAST));
    t.check(t.single_owner());
    Ok(())
}
