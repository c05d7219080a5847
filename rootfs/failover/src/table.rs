//! The transition table: every state by every input. It is literal, so that a hole can be seen, and
//! its type has no place for one.

use crate::state::{Input, State};

/// Where an input leads; `None` is "nowhere".
pub type Cell = Option<State>;

const ___: Cell = None;
const RDZ: Cell = Some(State::Rendezvous);
const SYN: Cell = Some(State::PSync);
const BLK: Cell = Some(State::PBlocked);
const SOL: Cell = Some(State::PSolo);
const HND: Cell = Some(State::HandOver);
const STB: Cell = Some(State::SSync);
const CAT: Cell = Some(State::SCatchUp);
const STL: Cell = Some(State::SStale);
const CND: Cell = Some(State::Candidate);
const PRM: Cell = Some(State::Promoting);
const FEN: Cell = Some(State::Fenced);
const REW: Cell = Some(State::Rewind);
const CLN: Cell = Some(State::Reclone);

/// Rows are states in the order of [`State::ALL`], columns inputs in the order of [`Input::ALL`].
#[rustfmt::skip]
pub const TABLE: [[Cell; Input::ALL.len()]; State::ALL.len()] = [
//               Bo  Sf  Su  La  Lt  St  Wo  Pu  Un  Is  Re  Gu  Si  Of  Wi  Dr  Us  Di  Fo  Jo  Pr  Rp  Rf
/* Boot       */[RDZ,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___],
/* Rendezvous */[___,FEN,___,PRM,BLK,CND,___,___,___,___,___,___,___,CND,___,___,CLN,REW,CAT,___,___,___,___],
/* PSync      */[___,FEN,FEN,___,___,___,___,___,BLK,___,HND,___,___,___,___,___,___,___,___,___,___,___,___],
/* PBlocked   */[___,FEN,FEN,___,___,___,SOL,___,___,SYN,HND,___,___,___,___,___,___,___,___,___,___,___,___],
/* PSolo      */[___,FEN,FEN,___,___,___,___,SYN,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___],
/* HandOver   */[___,FEN,FEN,___,___,___,___,___,___,___,___,BLK,___,___,___,___,___,___,___,___,___,___,___],
/* SSync      */[___,FEN,___,___,___,___,PRM,___,___,___,___,___,CND,CND,___,CAT,___,___,___,___,___,___,___],
/* SCatchUp   */[___,FEN,___,___,___,___,PRM,___,___,___,___,___,___,___,___,___,CLN,REW,___,STB,___,___,___],
/* SStale     */[___,FEN,___,___,___,___,PRM,___,___,___,___,___,___,CND,___,___,___,___,CAT,___,___,___,___],
/* Candidate  */[___,FEN,___,___,___,___,PRM,___,___,___,___,___,___,___,STL,STL,___,___,___,___,___,___,___],
/* Promoting  */[___,FEN,FEN,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,SOL,___,___],
/* Fenced     */[___,___,___,___,___,___,PRM,___,___,___,___,___,___,___,___,___,CLN,REW,___,___,___,___,___],
/* Rewind     */[___,FEN,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,CAT,CLN],
/* Reclone    */[___,FEN,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,___,CAT,FEN],
];

/// Where an input leads in a state.
pub fn transition(state: State, input: Input) -> Cell {
    TABLE[state as usize][input as usize]
}
