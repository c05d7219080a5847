//! How much those cost who haven't shown a certificate yet. Pure: time comes in as a value.
//!
//! ```text
//!              admit                    shows a certificate
//!   address ──────────> Guest with a place ──────────> a friend for an hour, tokens given back
//!      │                        │
//!      └──no──> turned away     └── leave: the place is free again
//! ```
//!
//! A connection takes a place, a token of its peer's bucket and one of the bucket of all strangers.
//! Who shows a certificate gets the tokens back and is a *friend* for a while: friends have places
//! that strangers don't get, and pass the common bucket by. So who belongs here may come as often as
//! he likes, a stranger gets a few attempts, and a flood of strangers keeps no friend out. When a
//! place is left is the service's decision: the gate's is, when the client has logged in; that of a
//! node's API, when the answer is out.
//!
//! *Strangers* count by IPv4 address or IPv6 /64, within which anyone can have as many addresses as
//! he likes. A friend is one address: its neighbours in the same network have shown nothing. Some are
//! friends from the beginning, as the nodes of a cluster are at its gate: after a failover they come
//! to one that has met nobody yet.
//!
//! What always holds: no more places are taken than there are, and no more than a stranger's share by
//! one stranger; memory is bounded; every place comes back.

mod bucket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bucket::Bucket;
pub use bucket::Rate;
use thiserror::Error;

/// How long a peer stays a friend.
const FRIENDSHIP: Duration = Duration::from_hours(1);
/// Peers that are remembered; the one not seen for longest is forgotten first.
const PEERS: usize = 256;
/// Turned-away connections are reported together, this often at most.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What a service can bear.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Connections that have a place at a time.
    pub places: usize,
    /// Those among them that strangers don't get.
    pub friends_places: usize,
    /// Places of one stranger: slow ones hold that many at most.
    pub stranger_places: usize,
    /// Attempts of one stranger.
    pub stranger: Rate,
    /// Attempts of all strangers together.
    pub strangers: Rate,
    /// Attempts of a friend that show no certificate: others may share its address.
    pub friend: Rate,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Turned {
    /// This peer tried too often.
    #[error("it tried too often")]
    PeerTooOften,
    /// This peer has too many places.
    #[error("it holds too many connections")]
    PeerTooMany,
    /// Strangers tried too often.
    #[error("strangers tried too often")]
    StrangersTooOften,
    /// All places are taken.
    #[error("all places are taken")]
    Full,
}

/// Who was admitted, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guest {
    /// One address.
    Friend(IpAddr),
    /// All who may be the same.
    Stranger(IpAddr),
}

#[derive(Clone, Debug, Default)]
struct Peer {
    bucket: Bucket,
    friend_until: Duration,
    seen: Duration,
    places: usize,
}

/// Who is inside, and who was here before.
#[derive(Debug)]
pub struct Admission {
    rules: Rules,
    /// Friends for ever.
    known: BTreeSet<IpAddr>,
    peers: BTreeMap<Guest, Peer>,
    strangers: Bucket,
    inside: usize,
    turned: u64,
    reported: Option<Duration>,
}

/// Those strangers who count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

impl Admission {
    /// Nobody is inside, and these are friends for ever.
    pub fn new(rules: Rules, known: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            rules,
            known: known.into_iter().map(|address| address.to_canonical()).collect(),
            peers: BTreeMap::new(),
            strangers: Bucket::default(),
            inside: 0,
            turned: 0,
            reported: None,
        }
    }

    /// Takes a place, or says why there is none. Who gets one gives it back by [`Admission::leave`].
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<Guest, Turned> {
        let address = address.to_canonical();
        let decided = if self.is_friend(address, now) {
            self.admit_friend(address, now)
        } else {
            self.admit_stranger(network_of(address), now)
        };
        match decided {
            Ok(_) => self.inside += 1,
            Err(_) => self.turned += 1,
        }
        decided
    }

    /// The same; some refusals come with a line about all since the last one. A flood writes a line now
    /// and then, however many connections it makes.
    pub fn admit_or_tell(
        &mut self,
        address: IpAddr,
        now: Duration,
    ) -> Result<Guest, Option<String>> {
        self.admit(address, now).map_err(|turned| {
            let count = self.report(now)?;
            let last = format!("the last of {}, since {turned}", address.to_canonical());
            Some(format!("{count} connections were turned away, {last}"))
        })
    }

    fn is_friend(&self, address: IpAddr, now: Duration) -> bool {
        let met = self.peers.get(&Guest::Friend(address));
        self.known.contains(&address) || met.is_some_and(|peer| peer.friend_until > now)
    }

    fn admit_friend(&mut self, address: IpAddr, now: Duration) -> Result<Guest, Turned> {
        let (guest, rate) = (Guest::Friend(address), self.rules.friend);
        let full = self.inside >= self.rules.places;
        let peer = self.peer(guest, now);
        if full {
            return Err(Turned::Full);
        }
        if !peer.bucket.take(rate, now) {
            return Err(Turned::PeerTooOften);
        }
        peer.places += 1;
        Ok(guest)
    }

    fn admit_stranger(&mut self, network: IpAddr, now: Duration) -> Result<Guest, Turned> {
        let (guest, rules) = (Guest::Stranger(network), self.rules);
        let full = self.inside >= rules.places.saturating_sub(rules.friends_places);
        let peer = self.peer(guest, now);
        if peer.places >= rules.stranger_places {
            return Err(Turned::PeerTooMany);
        }
        // Also for knocking at a full house, or whoever knocks most gets each place that comes free.
        if !peer.bucket.take(rules.stranger, now) {
            return Err(Turned::PeerTooOften);
        }
        if full {
            return Err(Turned::Full);
        }
        if !self.strangers.take(rules.strangers, now) {
            self.peer(guest, now).bucket.give_back(rules.stranger);
            return Err(Turned::StrangersTooOften);
        }
        self.peer(guest, now).places += 1;
        Ok(guest)
    }

    fn peer(&mut self, guest: Guest, now: Duration) -> &mut Peer {
        if !self.peers.contains_key(&guest) {
            self.make_room();
        }
        let peer = self.peers.entry(guest).or_default();
        peer.seen = now;
        peer
    }

    /// Forgets a peer if there are too many: strangers first, those that have a place never.
    fn make_room(&mut self) {
        while self.peers.len() >= PEERS {
            let idle = self.peers.iter().filter(|(_, peer)| peer.places == 0);
            let oldest = idle.min_by_key(|(_, peer)| (peer.friend_until, peer.seen));
            let Some(guest) = oldest.map(|(guest, _)| *guest) else { return };
            self.peers.remove(&guest);
        }
    }

    /// This guest, from this address, has shown a certificate that belongs here.
    pub fn authenticated(&mut self, address: IpAddr, guest: Guest, now: Duration) {
        let rate = match guest {
            Guest::Friend(_) => self.rules.friend,
            Guest::Stranger(_) => {
                self.strangers.give_back(self.rules.strangers);
                self.rules.stranger
            }
        };
        self.peer(guest, now).bucket.give_back(rate);
        let friend = self.peer(Guest::Friend(address.to_canonical()), now);
        friend.friend_until = now.saturating_add(FRIENDSHIP);
    }

    /// Places that are taken.
    pub fn inside(&self) -> usize {
        self.inside
    }

    /// A guest's place is free again.
    pub fn leave(&mut self, guest: Guest) {
        self.inside = self.inside.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&guest) {
            peer.places = peer.places.saturating_sub(1);
        }
    }

    /// How many were turned away since the last report, if it is time for one.
    fn report(&mut self, now: Duration) -> Option<u64> {
        let due = self.reported.is_none_or(|last| now >= last.saturating_add(REPORT_EVERY));
        if self.turned == 0 || !due {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.turned))
    }
}

#[cfg(test)]
mod tests;
