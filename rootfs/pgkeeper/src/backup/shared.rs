//! What the loop and the worker share: the status to tell, and the orders to carry out.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::control::{Answer, BackupStatus, PgRequest, Reason, Request, Restore};
use rustix::process::{Pid, Signal, kill_process_group};

use super::config::Config;

/// What the worker does, as people read it.
pub(super) const IDLE: &str = "idle";

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// A base backup.
    Backup,
    /// A restore.
    Restore(Restore),
}

#[derive(Debug, Default)]
struct State {
    status: BackupStatus,
    leads: bool,
    order: Option<Order>,
    /// The worker carries out an order.
    works: bool,
    /// The program that runs; it leads a group of its own.
    child: Option<Pid>,
    ending: bool,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    pub(super) fn new(config: &Config) -> Self {
        let status = BackupStatus {
            target: config.target.clone(),
            state: "starting".to_owned(),
            ..BackupStatus::default()
        };
        Self { state: Mutex::new(State { status, ..State::default() }), news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers an operator.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let mut state = self.lock();
        let busy = "something else isn't done yet: `nodectl pg backup list` shows what goes on";
        match request {
            Request::Pg(PgRequest::Backups) => Answer::Backups(Box::new(state.status.clone())),
            Request::Pg(PgRequest::BackupNow | PgRequest::Restore(_)) if state.is_busy() => {
                Answer::refused(Reason::Busy, busy)
            }
            Request::Pg(PgRequest::BackupNow) if !state.leads => {
                let text =
                    "backups are made on the node that leads: `nodectl pg status` says which";
                Answer::refused(Reason::Unsafe, text)
            }
            Request::Pg(PgRequest::BackupNow) => {
                state.take(Order::Backup, "a backup is ordered");
                self.news.notify_all();
                Answer::Accepted
            }
            Request::Pg(PgRequest::Restore(restore)) if !restore.accept_data_loss => {
                let text = "what was written later is lost by a restore; say --i-accept-data-loss if \
                            that is all right";
                Answer::refused(Reason::Unsafe, text)
            }
            Request::Pg(PgRequest::Restore(restore)) => {
                state.take(Order::Restore(restore.clone()), "a restore is ordered");
                self.news.notify_all();
                Answer::Accepted
            }
            _ => {
                let text =
                    "this socket is for backups only: use a nodectl of the node's own version";
                Answer::refused(Reason::Malformed, text)
            }
        }
    }

    /// Waits for an order or an end, but not longer than this.
    pub(super) fn wait(&self, limit: Duration) {
        let state = self.lock();
        let quiet = |state: &mut State| state.order.is_none() && !state.ending;
        let _woken = self.news.wait_timeout_while(state, limit, quiet);
    }

    /// The order that is to be carried out; until [`Shared::done`] no other is accepted.
    pub(super) fn take_order(&self) -> Option<Order> {
        let mut state = self.lock();
        state.works = state.order.is_some();
        state.order.take()
    }

    pub(super) fn done(&self) {
        self.lock().works = false;
    }

    #[cfg(test)]
    pub(super) fn has_child(&self) -> bool {
        self.lock().child.is_some()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut BackupStatus)) {
        change(&mut self.lock().status);
    }

    pub(super) fn see<T>(&self, look: impl FnOnce(&BackupStatus) -> T) -> T {
        look(&self.lock().status)
    }

    pub(super) fn set_leads(&self, leads: bool) {
        self.lock().leads = leads;
    }

    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// Remembers the program that runs, so that it can be stopped; says whether it shall go on.
    pub(super) fn set_child(&self, child: Option<Pid>) -> bool {
        let mut state = self.lock();
        state.child = child;
        !state.ending
    }

    /// The worker shall end, and the program that it waits for.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.ending = true;
        self.news.notify_all();
        state.signal(Signal::TERM);
    }

    /// For the program that runs, and for those that it started.
    pub(super) fn signal(&self, signal: Signal) {
        self.lock().signal(signal);
    }
}

impl State {
    /// Keeps an order for the worker. Whoever looks next sees that it isn't done yet.
    fn take(&mut self, order: Order, as_told: &str) {
        self.order = Some(order);
        as_told.clone_into(&mut self.status.state);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = self.child {
            let _gone = kill_process_group(child, signal);
        }
    }

    fn is_busy(&self) -> bool {
        self.order.is_some() || self.works || self.child.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_shows_from_the_moment_it_is_accepted() {
        let shared = Shared::default();
        shared.set_leads(true);
        shared.change(|status| IDLE.clone_into(&mut status.state));
        let order = Request::Pg(PgRequest::BackupNow);
        assert_eq!(shared.answer(&order), Answer::Accepted);
        let Answer::Backups(status) = shared.answer(&Request::Pg(PgRequest::Backups)) else {
            panic!("the list of backups was asked for");
        };
        assert_eq!(status.state, "a backup is ordered");
        assert!(matches!(shared.answer(&order), Answer::Refused(_)), "one at a time");
        assert_eq!(shared.take_order(), Some(Order::Backup));
        // Between two programs that it needs, an order isn't done.
        assert!(matches!(shared.answer(&order), Answer::Refused(_)), "still at it");
        shared.done();
        assert_eq!(shared.answer(&order), Answer::Accepted);
    }
}
