//! What the shell tells the core, and what the core asks of the shell.

use std::time::Duration;

use crate::command::{Accepted, Command, Refusal};
use crate::record::{Recall, Record};
use crate::state::{Input, State};
use crate::wire::Heartbeat;
use crate::witness::{Answer, Ask};
use crate::words::{Configuration, Epoch, Lsn, Ticket, Timeline};

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passed.
    Tick,
    /// The daemon has started; always the first event. PostgreSQL isn't running: it shares the
    /// daemon's cgroup, and whatever was left of it has been killed.
    Boot {
        /// The durable record.
        recall: Recall,
        /// What PostgreSQL's data is.
        data: Data,
        /// A random number that no other boot has; never 0.
        nonce: u64,
    },
    /// The record is durable.
    Persisted(Ticket),
    /// The record could not be made durable; what is on disk is unknown.
    PersistFailed(Ticket),
    /// An authentic heartbeat arrived on a channel.
    Heard(u8, Heartbeat),
    /// Every channel's link is down.
    Unplugged,
    /// The witness answered.
    Witness(Answer),
    /// PostgreSQL has news.
    Postgres(PgReport),
    /// The fence command ended; with `true` the peer is certainly off.
    Fenced(Ticket, bool),
    /// A gateway answered a probe.
    GatewayAnswered,
    /// Another router adverts the virtual address.
    ForeignVip,
    /// How PostgreSQL's disk is.
    Trouble(Trouble),
    /// Kine's revision was moved forward.
    RevisionFenced(Ticket),
    /// The operator wants something.
    Operator(Command),
}

/// What is wrong with PostgreSQL's disk, the lesser evil first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It is nearly full, and serves as ever until it is.
    Room,
    /// It is slow, or refuses writes.
    Slow,
}

/// What PostgreSQL's data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// There is none, or it isn't usable.
    Missing,
    /// It was last a standby's: it is started with `standby.signal`.
    Standby,
    /// It was last a primary's.
    Primary,
}

/// News of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PgReport {
    /// A command did what it should; this is where the WAL is now.
    Done(Ticket, Timeline, Lsn),
    /// A command failed, and PostgreSQL is not running.
    Failed(Ticket),
    /// PostgreSQL ended by itself.
    Exited,
    /// PostgreSQL, as a standby, can't stream from the leader: WAL is missing or histories parted.
    CannotFollow,
    /// How far it is. On a primary also how far the peer has flushed, if the peer streams.
    Status {
        /// Its timeline.
        timeline: Timeline,
        /// The end of its flushed WAL.
        lsn: Lsn,
        /// The end of the peer's flushed WAL.
        peer: Option<Lsn>,
    },
}

/// What PostgreSQL shall do. One command is under way at a time, except that `Stop` may overtake
/// any other, whose answer is then ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PgCommand {
    /// Make a new, empty database.
    InitDb,
    /// Start as a primary. With `wait` every commit waits for the peer from the very start.
    StartPrimary {
        /// Whether the peer is a synchronous standby.
        wait: bool,
    },
    /// Start as a standby, or change a running one.
    StartStandby {
        /// Whether to stream from the peer. Streaming acknowledges what it has flushed.
        receive: bool,
    },
    /// Stop streaming, certainly: nothing is acknowledged after the answer.
    StopReceiver,
    /// Become a primary; done when writes are possible on a new timeline.
    Promote,
    /// From now on commits wait for the peer. The answer's LSN is the end of the WAL then.
    RequirePeer,
    /// From now on commits don't wait. Those that wait are acknowledged.
    ReleasePeer,
    /// End at once (immediate shutdown): what waits for the peer isn't acknowledged.
    Stop,
    /// End after all WAL went to the standby (fast shutdown); the gate is already closed.
    StopClean,
    /// Wind the data back to where the peer's history parted from it; archive what is dropped.
    Rewind,
    /// Copy the peer's data beside the own, then swap.
    Reclone,
}

/// What the shell shall do, in this order. Nothing waits for anything else, except that a record is
/// answered with `Persisted`, a command with a [`PgReport`], and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the record durable: write, fsync, rename, fsync the folder.
    Persist(Ticket, Record),
    /// Send a heartbeat on every channel.
    Send(Heartbeat),
    /// Ask the witness.
    Ask(Ask),
    /// Let clients reach PostgreSQL.
    OpenGate(Epoch),
    /// Cut every session and let nobody in.
    CloseGate,
    /// The virtual address may be held until then, by this node's clock.
    Permit(Epoch, Duration),
    /// The virtual address may not be held.
    WithdrawPermit,
    /// Tell PostgreSQL.
    Postgres(Ticket, PgCommand),
    /// Cut the peer's power.
    Fence(Ticket),
    /// Leave the peer's power alone, if there is still time: what the cut was for is over.
    CallOffFence(Ticket),
    /// Move kine's revision forward, so that no client takes an old one for current.
    FenceRevision(Ticket),
    /// Say that the node moved.
    Moved {
        /// Where it was.
        from: State,
        /// Where it is.
        to: State,
        /// Why.
        because: Input,
    },
    /// Say something that people should know.
    Report(Notice),
    /// Answer the operator.
    Reply(Result<Accepted, Refusal>),
}

/// What people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This node has authority for a configuration, from this source.
    Authority(Configuration, Source),
    /// Both nodes led without knowing of each other: the policy, a fence or a forced promotion was
    /// wrong. The first configuration was this node's, and what it wrote since is archived and
    /// given up; the second stays.
    Diverged(Configuration, Configuration),
    /// The witness knows a newer configuration than this node.
    WitnessKnowsNewer(Configuration),
    /// The record couldn't be written; the node is out until its daemon is started again.
    StorageFailed,
}

/// Where authority came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The peer wrote down its consent.
    Peer,
    /// The witness.
    Witness,
    /// A confirmed fence.
    Fence,
    /// The policy, after its windows.
    Policy,
    /// Nobody else could have had it.
    Alone,
    /// The operator, who accepted the loss of data.
    Operator,
}
