//! What the operator asks and orders: the control socket's view of the loop.

use std::time::Duration;

use ::control::DatabaseStatus;
use failover::{Accepted, Command, Event, Refusal};
use sys::clock;

use super::config::Config;
use super::role::Keeper;
use crate::control::{self, Input, Names, Server};
use crate::postgres::Repair;

/// What the core doesn't know: names.
pub(super) fn names(config: &Config) -> Names {
    let witness = config.failover.witness.as_ref();
    Names {
        nodes: config.pair.clone(),
        side: config.side(),
        channels: config.channels.iter().map(|channel| channel.name.clone()).collect(),
        witness: witness.map(|at| format!("{}:{}", at.address, at.port)),
        arbiter: config.failover.arbiter(),
    }
}

/// What the last repair gave up, if it was something.
fn given_up(repair: &Repair) -> Option<String> {
    let (count, path) = (repair.transactions_discarded?, repair.archive.as_ref()?.display());
    (count > 0).then(|| format!("the last repair gave up {count} transactions, kept in {path}"))
}

/// What is wrong with data that is a copy of wrong data.
const DAMAGED: &str = "pages of the database are damaged on both nodes, since this one was copied from \
                       its peer: `pg_dump` tells which tables, `nodectl pg backup list` which backups are \
                       sound; what this node had before is kept beside until `nodectl pg reinit` copies a \
                       sound database";

impl control::Keeper for Keeper {
    fn snapshot(&self) -> DatabaseStatus {
        let told = self.health.ill().into_iter().chain(self.witness_silent.as_deref());
        let mut trouble: Vec<String> = told.map(str::to_owned).collect();
        let postgres = self.postgres.detail();
        trouble.extend(postgres.last_repair.as_ref().and_then(given_up));
        trouble.extend(postgres.has_damaged_copy.then(|| DAMAGED.to_owned()));
        control::snapshot(&self.core.status(), &self.names, Some(&self.gate.status()), &trouble)
    }

    fn order(&mut self, command: Command) -> Result<Accepted, Refusal> {
        // A keeper that is ending doesn't step the protocol any more.
        self.order_step(&Event::Operator(command)).unwrap_or(Err(Refusal::Booting))
    }
}

impl Keeper {
    /// A bounded piece of work for somebody who asks.
    pub(super) fn attend(&mut self, now: Duration, input: Input) {
        let Some(mut door) = self.door.take() else { return };
        door.attend(input, &mut |request| control::answer(self, request), now);
        self.door = Some(door);
    }

    pub(super) fn pass_time_of_askers(&mut self) {
        if let Some(door) = &mut self.door {
            door.pass_time(clock::boot());
        }
    }
}

/// Opens the door. Without it the pair does its work all the same.
pub(super) fn open(config: &Config) -> Result<Server, control::ControlError> {
    Server::bind(&config.control_socket, config.control_group)
}
