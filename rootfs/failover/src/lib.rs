//! Who may serve as the primary of a PostgreSQL pair, and what everyone does about it.
//!
//! Two machines, one database, nobody with a keyboard. When they lose sight of each other, one of
//! them may go on and the other must not, and neither can tell a dead peer from a cut cable. This
//! crate is the protocol that decides, and nothing around it: no socket, no disk, no clock.
//!
//! ```text
//! Failover::step(now, event, &mut actions)          Failover::wake_at() -> poll timeout
//! Register::ask(question) -> answer                 (the witness)
//! ```
//!
//! # The idea
//!
//! Synchronous commit is a fence that needs no clock: a primary whose commits wait for the peer's
//! flush can't acknowledge anything once the peer stops flushing for it, however long it stood
//! still. So what needs authority is *leaving* synchrony, in either direction. "The primary goes on
//! alone" and "the standby is promoted" are the same act: a [`Configuration`] (epoch, leader,
//! members) follows another, and of all claims to follow the same base at most one is ever acted
//! on. `vote.rs` is the heart; the words:
//!
//! | word | meaning |
//! |---|---|
//! | configuration | who leads, in which epoch, and who has every acknowledged commit |
//! | member | a node that has every acknowledged commit; only members may claim what follows |
//! | base | the configuration that a claim follows |
//! | claim | a member's durable wish to lead alone in a higher epoch |
//! | consent | the peer adopts a claim as its own configuration, durably |
//! | promise | the highest epoch a node has voted in; above its configuration it acknowledges nothing |
//! | grant | the witness writes a claim into its register: one per base |
//! | publication | a solo leader makes its standby a member again; nobody else could decide that |
//! | voter | a node that has forgotten nothing since it became a member |
//! | contact | the peer echoed something that we sent a moment ago: it lives, and it hears us |
//!
//! The peers exchange one kind of message, the [`Heartbeat`]: each shows its durable record. So a
//! claim, a consent, an offer and their answers survive loss, doubling, delay and reordering by
//! being said again. Odd epochs belong to side A and even ones to side B.
//!
//! # A node's states
//!
//! Each arrow carries the [`Input`] that causes it; several causes are joined by `|`. Inputs are
//! facts that hold or don't, not edges, and are judged anew at every step. A test reads this drawing
//! and compares it with [`table::TABLE`]; the simulator takes every arrow.
//!
//! ```text
//!  Boot --Booted--> Rendezvous
//!
//!  Rendezvous --LeadTogether--> PBlocked --InSync--> PSync --Unacked--> PBlocked --Won--> PSolo
//!  Rendezvous --LeadAlone--> Promoting --Promoted--> PSolo --Published--> PSync
//!  Rendezvous --Stand|Offered--> Candidate --Won-->  Promoting
//!  Rendezvous --Follow-->    SCatchUp  --Joined-->   SSync --Silence|Offered--> Candidate
//!
//!  PSync|PBlocked --Resign--> HandOver --GaveUp--> PBlocked
//!  PSync|PBlocked|PSolo|HandOver|Promoting --Superseded--> Fenced
//!
//!  Candidate --WindowOver|Dropped--> SStale --Follow--> SCatchUp
//!  SStale --Offered--> Candidate
//!  SSync --Dropped--> SCatchUp
//!  SSync|SCatchUp|SStale|Fenced --Won--> Promoting
//!
//!  Rendezvous|SCatchUp|Fenced --Diverged--> Rewind  --Repaired--> SCatchUp
//!  Rendezvous|SCatchUp|Fenced --Unusable--> Reclone --Repaired--> SCatchUp
//!  Rewind --RepairFailed--> Reclone --RepairFailed--> Fenced
//!
//!  Rendezvous|PSync|PBlocked|PSolo|HandOver --StorageFailed--> Fenced
//!  SSync|SCatchUp|SStale|Candidate|Promoting|Rewind|Reclone --StorageFailed--> Fenced
//! ```
//!
//! Maintenance is not a state: it takes the arbiter away ([`Record::maintenance`]), and leaves
//! orders and consent.
//!
//! # What can never happen, and why
//!
//! 1. **An acknowledged commit is missing from a later leader.** While both are members every
//!    acknowledgement has waited for the peer's flush, so either member has it all. Leaving that
//!    configuration takes a claim by a member, and at most one claim per base is acted on (2). A
//!    standby becomes a member only after commits wait for it *and* it has flushed all that didn't.
//! 2. **Two nodes act on claims that follow the same base.** To act, a claimant needs its own
//!    durable record and one of: the peer's record already holds the claim, so the peer has no claim
//!    of its own any more; the witness holds it, and holds one per base; the peer is off, was seen
//!    in this very configuration before, and boots without authority; a biased policy under which
//!    the peer never acts without consent. A consent is given only by a node that doesn't lead, to
//!    a claim above all its promises. The witness may have been away meanwhile: whoever decided
//!    without it decided with the other member.
//! 3. **One epoch has two leaders.** Its parity names the only one.
//! 4. **An effect comes before the fsync that allows it.** Gate, permit, promotion, release of the
//!    waiting commits, consent and claim all follow from the durable record. Votes are judged by
//!    what is *being* written, so a second vote can't slip in between.
//! 5. **A node seeks authority while it still acknowledges.** Its receiver has stopped and its
//!    promise is durable before the claim is shown or asked.
//! 6. **A node that booted alone gains anything.** From synchrony it waits for peer or witness; what
//!    it led alone before it may lead again, for nobody else could have claimed since.
//! 7. **A node without memory votes or leads.** A lost, torn or foreign record is never guessed. The
//!    next publication that follows from one that the node remembers gives the vote back. A witness
//!    without memory grants nothing until the pair, in sync and claiming nothing, enrolls it.
//! 8. **Clients are let in where what they see may vanish.** After a crash of PostgreSQL the gate
//!    waits for the peer to flush the end of recovery; a blocked primary closes it; whoever hears of
//!    a newer leader closes it in the same step. A forced promotion moves kine's revision first.
//! 9. **Data that somebody counts on is rewound or replaced.** Only an outsider is repaired, and a
//!    rewind that was begun is in the record until it is finished.
//! 10. **An event without a defined effect.** The table is total and its type has no hole.
//!
//! # What can happen, and is said
//!
//! - With [`Policy::Availability`] and no witness, both nodes can lead if every channel between them
//!   is dead, adverts of the virtual address included ([`Event::ForeignVip`]), *and* both have had an
//!   answering gateway ever since the last contact; or if a node stands still, clock and all, between
//!   its last look and its promotion, needs longer for its record and its promotion than the windows
//!   lie apart (four seconds at the usual times), or goes down before its first advert. Then the
//!   higher epoch stays, the other side's writes are archived and reported ([`Notice::Diverged`]).
//! - A leader that stood still together with its clock may open its gate on what it finds in its
//!   sockets, and show old data until it hears the peer or misses it: at most the bound of silence.
//!   It can't acknowledge a write.
//! - A leader of both whose PostgreSQL fails again and again has its peer lead, if that one's data is fit, it
//!   has its vote, and there is no maintenance. Where it led alone it has the only copy, and keeps trying.
//! - If memory is lost *and* the other side can't know whether it was overtaken, nobody leads until
//!   the operator says who. So too if the only copy is lost.
//! - `ForcePrimary` loses what it says it may lose.
//!
//! # What the shell must guarantee
//!
//! Actions are carried out in their order, and each answer is given once; what PostgreSQL did first
//! is told first. A record is durable (file and folder) before `Persisted`. `StopReceiver` is
//! answered when nothing can be acknowledged any more; `ReleasePeer` may take effect at any moment between
//! its order and its answer. The gate swallows cancel requests and cuts
//! sessions at once; clients have no other way in. A heartbeat that isn't authentic is not handed
//! on. PostgreSQL reports its status several times per bound of silence, and dies with the daemon.
//! A fence is confirmed only if the peer is off; one that is called off is ended, and may have cut.
//! `now` is the boottime clock.

mod boot;
mod command;
mod event;
mod facts;
mod failover;
mod judge;
mod link;
mod orders;
mod postgres;
mod record;
mod serve;
mod settings;
mod state;
mod status;
mod store;
pub mod table;
mod uncounted;
mod vote;
mod wire;
mod witness;
mod words;

pub use boot::{BOOT_RULES, Met, Standing, Verdict, verdict};
pub use command::{Accepted, Command, Refusal};
pub use event::{Action, Data, Event, Notice, PgCommand, PgReport, Source, Trouble};
pub use failover::Failover;
pub use link::CHANNELS_MAX;
pub use record::{RECORD_BYTES, Recall, Record, RecordError};
pub use settings::{Arbiter, LAG_ALLOWED, Policy, Rules, Settings, Times};
pub use state::{Input, State};
pub use status::Status;
pub use wire::{Flags, HEARTBEAT_BYTES, Heartbeat, WireError};
pub use witness::{ANSWER_BYTES, ASK_BYTES, Answer, Ask, REGISTER_BYTES, Register};
pub use words::{Configuration, Epoch, Lsn, Members, Side, Ticket, Timeline};
