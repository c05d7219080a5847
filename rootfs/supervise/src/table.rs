//! The transition table: every state by every input. It is literal, so that a hole can be seen, and
//! its type has no place for one.

use crate::state::{Effect, Input, State};

/// What an input does to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing changes.
    Stay,
    /// The service enters a state (perhaps the same, anew), with an effect on the world.
    Go(State, Option<Effect>),
}

const fn go(state: State) -> Cell {
    Cell::Go(state, None)
}

const fn and(state: State, effect: Effect) -> Cell {
    Cell::Go(state, Some(effect))
}

const ____: Cell = Cell::Stay;
const DOWN: Cell = go(State::Down);
const WAIT: Cell = go(State::Waiting);
const REDY: Cell = go(State::Ready);
const SPWN: Cell = and(State::Starting, Effect::Spawn);
const PROB: Cell = and(State::Running, Effect::Probe);
const STOP: Cell = and(State::Stopping, Effect::Signal);
const KILL: Cell = and(State::Killing, Effect::KillGroup);
// The end of a process takes along whatever else is left in its cgroup.
const DONE: Cell = and(State::Finished, Effect::KillGroup);
const PAUS: Cell = and(State::BackOff, Effect::KillGroup);
const ENDD: Cell = and(State::Ended, Effect::KillGroup);
const FAIL: Cell = and(State::Failed, Effect::KillGroup);
const BACK: Cell = and(State::Waiting, Effect::KillGroup);

/// Rows are states in the order of [`State::ALL`], columns inputs in the order of [`Input::ALL`].
#[rustfmt::skip]
pub const TABLE: [[Cell; Input::ALL.len()]; State::ALL.len()] = [
//              Wanted      Leave       Hurry       Spawned     JobDone     EndsWell    AsAsked
//                    Clear       Unwanted    Retry       Ready       ForAWhile   EndsBadly   Timer
/* Down     */ [WAIT, ____, ____, ____, ____, ____, ____, ____, ____, ____, ____, ____, ____, ____],
/* Waiting  */ [____, SPWN, ____, DOWN, ____, ____, ____, ____, ____, ____, ____, ____, ____, ____],
/* Starting */ [____, ____, STOP, STOP, KILL, ____, PROB, ____, DONE, PAUS, ENDD, FAIL, BACK, STOP],
/* Running  */ [____, ____, STOP, STOP, KILL, ____, ____, REDY, DONE, PAUS, ENDD, FAIL, BACK, STOP],
/* Ready    */ [____, ____, STOP, STOP, KILL, ____, ____, ____, DONE, PAUS, ENDD, FAIL, BACK, KILL],
/* Stopping */ [____, ____, ____, ____, KILL, ____, ____, ____, DONE, PAUS, ENDD, FAIL, BACK, KILL],
/* Killing  */ [____, ____, ____, ____, ____, ____, ____, ____, DONE, PAUS, ENDD, FAIL, BACK, KILL],
/* BackOff  */ [____, ____, ____, DOWN, ____, WAIT, ____, ____, ____, ____, ____, ____, ____, WAIT],
/* Finished */ [____, ____, ____, DOWN, ____, WAIT, ____, ____, ____, ____, ____, ____, ____, ____],
/* Ended    */ [____, ____, ____, DOWN, ____, WAIT, ____, ____, ____, ____, ____, ____, ____, ____],
/* Failed   */ [____, ____, ____, DOWN, ____, WAIT, ____, ____, ____, ____, ____, ____, ____, ____],
];

/// What an input does to a service in a state.
pub fn transition(state: State, input: Input) -> Cell {
    TABLE[state as usize][input as usize]
}
