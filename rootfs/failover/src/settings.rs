//! What the operator chose, and the bounds that go with it. Constant for a run of the daemon.

use std::time::Duration;

use crate::words::Side;

/// What happens when the peers lose sight of each other and nobody can arbitrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Writes stop until the other node agrees. Never loses a commit.
    Consistency,
    /// The primary carries on alone; the standby never promotes by itself. Never loses a commit.
    PrimaryBiased,
    /// The standby promotes by itself; the primary stops. Never loses a commit.
    StandbyBiased,
    /// Either carries on, after time windows and with an answering gateway. Can diverge.
    Availability,
}

/// Who decides when the peers can't ask each other. It is one of them, never two that could
/// contradict each other:
///
/// - With a witness, neither fence nor policy counts: {me, fenced peer} and {peer, witness} have
///   no voter in common.
/// - With a fence, no policy counts: whoever carries on by a policy could be switched off by a
///   peer whose fence works a moment later, and what it acknowledged in between would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arbiter {
    /// The witness, alone.
    Witness,
    /// A command that cuts the peer's power; where it fails, writes stop.
    Fence,
    /// The policy.
    Policy(Policy),
}

impl Arbiter {
    /// The arbiter of a seed: whether it names a witness, whether a fence, and which policy. A
    /// fence is used unless the policy favours a side, which then needs none. Without any of these
    /// a pair is available rather than consistent.
    pub fn choose(witness: bool, fence: bool, policy: Option<Policy>) -> Self {
        let biased = matches!(policy, Some(Policy::PrimaryBiased | Policy::StandbyBiased));
        match (witness, fence && !biased) {
            (true, _) => Self::Witness,
            (_, true) => Self::Fence,
            _ => Self::Policy(policy.unwrap_or(Policy::Availability)),
        }
    }

    /// The policy that is left when nothing else can decide.
    pub fn policy(self) -> Policy {
        match self {
            Self::Witness | Self::Fence => Policy::Consistency,
            Self::Policy(policy) => policy,
        }
    }

    /// Whether a standby could ever get authority without the primary's consent. If it can't, it
    /// need not withdraw its acknowledgements when it loses sight of the primary.
    pub fn may_grant_standby(self) -> bool {
        match self {
            Self::Witness | Self::Fence => true,
            Self::Policy(policy) => {
                matches!(policy, Policy::StandbyBiased | Policy::Availability)
            }
        }
    }
}

/// Everything that a node is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Which cluster this is; messages and records of others are ignored.
    pub cluster: u64,
    /// Which of the two this node is.
    pub side: Side,
    /// Who decides when the peers can't ask each other.
    pub arbiter: Arbiter,
    /// The times.
    pub times: Times,
    /// The rules of the protocol. Only tests ever change them.
    pub rules: Rules,
}

/// Every wait and bound of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Silence after which the peer is lost. Five heartbeats: one may be lost and one late.
    pub loss: Duration,
    /// How long a standby lets the primary ask the arbiter first, so that a cut between two healthy
    /// nodes moves nothing.
    pub precedence: Duration,
    /// How long a booted leader looks for its peer before it relies on the witness.
    pub rendezvous: Duration,
    /// The same for a booted standby: longer, for the leader may still be booting.
    pub standby_rendezvous: Duration,
    /// T1: how long after the last contact a standby may still promote by policy.
    pub promote_window: Duration,
    /// T2: how long after the last contact a primary may go solo by policy. It exceeds T1, the time
    /// of a promotion and the drift of two clocks over all of it.
    pub solo_window: Duration,
    /// How long sessions are kept while a primary that lost its peer asks for authority. Shorter
    /// than a promotion takes, so that reads from two primaries don't overlap.
    pub blocked_grace: Duration,
    /// How long replication may stand still between peers that hear each other.
    pub stream_loss: Duration,
    /// How long PostgreSQL may take to come back after a crash before the peer is asked to lead. A
    /// promotion costs synchrony for a while, so a start that is quick is worth waiting for.
    pub restart_bound: Duration,
    /// How long a planned hand-over may take before it is called off.
    pub handover_bound: Duration,
    /// How long a standby must keep up before it is made synchronous.
    pub hold_down: Duration,
    /// The longest such wait: it doubles with each loss of synchrony.
    pub hold_down_longest: Duration,
    /// How long a permit for the virtual address lasts without being renewed.
    pub permit: Duration,
    /// Pause before a failed command is tried again, or a silent witness asked again.
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            heartbeat: ms(100),
            loss: ms(500),
            precedence: ms(100),
            rendezvous: ms(1000),
            standby_rendezvous: ms(3000),
            promote_window: ms(1500),
            solo_window: ms(5000),
            blocked_grace: ms(250),
            stream_loss: ms(2000),
            restart_bound: ms(1000),
            handover_bound: ms(5000),
            hold_down: ms(5000),
            hold_down_longest: ms(300_000),
            permit: ms(500),
            retry: ms(500),
        }
    }
}

/// How far behind a standby may be and still be made synchronous: less than one WAL segment, so
/// that the first synchronous commit doesn't wait for a long transfer.
pub const LAG_ALLOWED: u64 = 1 << 20;

/// How far behind it may fall while it is watched: one look that finds a burst of writes mustn't begin
/// the watch anew, or a pair under steady writing would never be in sync again.
pub(crate) const LAG_BORNE: u64 = 16 << 20;

/// The rules of the protocol, each of which a test can switch off to see that the simulator
/// notices. [`Rules::ALL`] is the only value outside of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // A set of independent switches is what it is.
pub struct Rules {
    /// Effects and messages follow the fsync of the record that allows them.
    pub persist_before_effect: bool,
    /// A candidate stops acknowledging, durably, before it asks for authority.
    pub withdraw_before_authority: bool,
    /// A primary doesn't go solo without authority.
    pub solo_needs_authority: bool,
    /// A standby doesn't promote without authority.
    pub promotion_needs_authority: bool,
    /// Only a member of the configuration may claim the next one.
    pub only_members_claim: bool,
    /// A node consents only to what follows the newest configuration that it knows, and only
    /// while it doesn't lead itself.
    pub consent_is_checked: bool,
    /// The witness grants at most one claim per base.
    pub witness_grants_once: bool,
    /// A witness that lost its memory grants nothing until the pair enrolled it again.
    pub witness_enrolls: bool,
    /// A node that lost its memory grants nothing and leads nothing.
    pub amnesia_has_no_vote: bool,
    /// A node that booted alone from synchrony waits.
    pub lone_boot_waits: bool,
    /// Acknowledgements depend on the peer before the peer is published as a member.
    pub names_before_publish: bool,
    /// The peer has flushed all of it before it is published as a member.
    pub flush_before_publish: bool,
    /// Commits may wait for nobody from the moment on at which they are to be released.
    pub release_is_doubted: bool,
    /// After a crash of PostgreSQL the gate waits for the peer to flush the end of recovery.
    pub recovery_flush_before_gate: bool,
    /// A leader that sees a newer configuration stops at once.
    pub fence_on_newer: bool,
    /// A primary that can't acknowledge gives up gate and address.
    pub blocked_closes_gate: bool,
    /// Contact means that the peer echoed something recent, not that something arrived.
    pub contact_by_echo: bool,
    /// A standby that can't be made to follow is repaired only when it is no member.
    pub repair_only_outsiders: bool,
    /// A rewind is noted in the record before it is begun.
    pub rewind_is_noted: bool,
    /// Who fences, or acts by policy, has seen the peer in this very configuration since it booted.
    pub peer_was_here: bool,
    /// A fence is called off when the peer is heard again.
    pub fence_is_called_off: bool,
    /// A standby keeps up for a while before it is made synchronous.
    pub hold_down: bool,
    /// A promotion that may have lost commits moves kine's revision before clients come in.
    pub revision_fence: bool,
    /// Nobody acts by policy without an answering gateway.
    pub gateway: bool,
    /// A primary doesn't go solo by policy once somebody else has taken the virtual address.
    pub foreign_vip: bool,
}

impl Rules {
    /// Every rule in force.
    pub const ALL: Self = Self {
        persist_before_effect: true,
        withdraw_before_authority: true,
        solo_needs_authority: true,
        promotion_needs_authority: true,
        only_members_claim: true,
        consent_is_checked: true,
        witness_grants_once: true,
        witness_enrolls: true,
        amnesia_has_no_vote: true,
        lone_boot_waits: true,
        names_before_publish: true,
        flush_before_publish: true,
        release_is_doubted: true,
        recovery_flush_before_gate: true,
        fence_on_newer: true,
        blocked_closes_gate: true,
        contact_by_echo: true,
        repair_only_outsiders: true,
        rewind_is_noted: true,
        peer_was_here: true,
        fence_is_called_off: true,
        hold_down: true,
        revision_fence: true,
        gateway: true,
        foreign_vip: true,
    };
}
