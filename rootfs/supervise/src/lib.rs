//! The supervisor: what runs on a node, after what, and what happens when it ends.
//!
//! PID 1 has nobody to ask. Whatever its services do (crash in a loop, hang, never become ready,
//! refuse to die) it must end in a state that was thought of beforehand. So all decisions are here,
//! as one function without a world around it, and PID 1 only carries them out:
//!
//! ```text
//! Supervisor::step(now, event) -> actions          Supervisor::next_deadline() -> poll timeout
//! ```
//!
//! # Words
//!
//! - **needs**: services that must be ready before this one starts, and without which it leaves.
//! - **after**: services that get the chance to be ready first; if they fail, this one starts.
//! - **desired** and **actual**: the operator's wish (up or down) is one thing, the state of the
//!   process another. Every step compares the two and moves the actual one step nearer.
//! - **run**: one life of a service's process. Reports name the run that they are about, so news of
//!   an earlier life is recognised and ignored.
//! - **leaving**: being stopped although it is desired: a need was lost, or a restart was asked.
//!
//! # A service's states
//!
//! Each arrow carries the [`Input`] that causes it; several causes are joined by `|`. Whatever is
//! not drawn changes nothing. A test reads this drawing and compares it with [`table::TABLE`].
//!
//! ```text
//!  Down --Wanted--> Waiting --Clear--> Starting --Spawned--> Running --BecameReady--> Ready
//!
//!  Starting|Running --Leave|Unwanted|Timer--> Stopping --Timer|Hurry--> Killing --Timer--> Killing
//!  Ready            --Leave|Unwanted-->       Stopping
//!  Starting|Running|Ready --Hurry--> Killing
//!  Ready --Timer--> Killing
//!
//!  Starting|Running|Ready|Stopping|Killing --JobDone-->       Finished
//!  Starting|Running|Ready|Stopping|Killing --EndsWell-->      Ended
//!  Starting|Running|Ready|Stopping|Killing --EndsBadly-->     Failed
//!  Starting|Running|Ready|Stopping|Killing --EndsAsAsked-->   Waiting
//!  Starting|Running|Ready|Stopping|Killing --EndsForAWhile--> BackOff --Timer|Retry--> Waiting
//!
//!  Finished|Ended|Failed --Retry--> Waiting
//!  Waiting|BackOff|Finished|Ended|Failed --Unwanted--> Down
//! ```
//!
//! # What can never happen
//!
//! 1. A service is started before all its needs are ready, or while a process that
//!    knew its former life is still there.
//! 2. A service is asked to stop while one that waits for it, and must go too, has a process: the
//!    order of stopping is the reverse of the order of starting.
//! 3. A service is started twice without the first process having ended.
//! 4. A service that crashes is started again without a pause, or with a pause shorter than
//!    [`SHORTEST_DELAY`]. Pauses double up to the service's longest.
//! 5. A state without a way out: every state that waits for a process has a deadline, except a
//!    service that is ready and needn't say that it is alive. A history that gets no more events
//!    settles in bounded time.
//! 6. A shutdown outlives its bound by more than [`KILL_GRACE`], whatever refuses to die.
//! 7. An event without a defined effect. The table is total, and an event about a service or a run
//!    that doesn't exist has no effect at all.
//!
//! # What it never does
//!
//! It does no IO, reads no clock, starts no thread, draws no random number: equal histories give
//! equal actions. It never blocks on a service, and it knows no process ids: those belong to PID 1.

mod backoff;
mod event;
mod graph;
mod levels;
mod service;
mod state;
mod status;
mod supervisor;
pub mod table;
mod watchdog;

pub use backoff::{SHORTEST_DELAY, STABLE_RUN};
pub use event::{Action, Event, Exit, Report, Run, ServiceId, Wish};
pub use graph::{GraphError, MAX_SERVICES};
pub use service::KILL_AGAIN;
pub use state::{Effect, Input, State};
pub use status::ServiceStatus;
pub use supervisor::{ABSENCE, KILL_GRACE, LATEST_TIME, Supervisor};
pub use watchdog::{LOOP_SILENCE, UNKILLABLE_AFTER};
