//! What operators order, and what they must order because no node may decide it.

use std::time::Duration;

use control::{Answer, PgRequest};
use ledger::Kind;
use ledger::check::enough;
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::expect::{answers, claims, is, yields};
use qemu_tests::rig::fault::Stop;

use super::{CRASH_BUDGET, HAND_OVER_BUDGET, HEAL_LIMIT, SOLO_BUDGET, leads};

/// Longer than every window in which a node acts by itself.
const LONG_ENOUGH: Duration = Duration::from_secs(12);
/// With fewer acknowledged rows a run proves nothing.
const ROWS_LEAST: usize = 40;

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
    let (primary, standby) = t.pair_roles()?;
    let clients = t.start_writers()?;
    let standby_off = t.inject(standby.power_cut())?;
    t.expect("the primary goes on alone", is(primary, "solo"), SOLO_BUDGET)?;
    t.expect("a row is acknowledged that the standby hasn't", answers(), SOLO_BUDGET)?;
    let primary_off = t.inject(primary.power_cut())?;
    t.heal(standby_off)?;
    t.wait_ready(standby)?;
    t.let_pass(LONG_ENOUGH)?;
    let open = t.keeper(standby).is_some_and(|status| status.gate_open);
    t.assert("it isn't promoted", !open, format!("its gate is open: {open}"));
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
