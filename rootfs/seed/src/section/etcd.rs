//! `[etcd]`: etcd run by the image itself.

use crate::reader::section;
use crate::scalar::{Bytes, DurationText, Port, Word};

section! {
    /// etcd. Its members are the nodes with the role "etcd"; an odd number, at least three.
    Etcd {
        /// Token that keeps two clusters on one network apart.
        token: Word = default("'etcd'");
        /// Port for clients.
        client_port: Port = default("2379");
        /// Port between members.
        peer_port: Port = default("2380");
        /// Time between two heartbeats of the leader.
        heartbeat: DurationText = default("'100ms'");
        /// Silence of the leader after which another is elected; at least five heartbeats.
        election: DurationText = default("'1s'");
        /// Largest size of the data.
        quota: Bytes = default("'2GiB'");
        /// Whether clients and members need certificates. Only a test has reasons for `false`.
        tls: bool = default("true");
    }
}
