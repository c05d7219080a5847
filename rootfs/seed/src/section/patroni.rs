//! `[patroni]`: PostgreSQL with three or more members.

use crate::reader::section;
use crate::scalar::{Bytes, DurationText, Port, Url, Word};

section! {
    /// Patroni manages PostgreSQL on three or more members and keeps its state in etcd. Port, name
    /// and settings of the database are those of `[database]`.
    Patroni {
        /// Name of the Patroni cluster.
        scope: Word = required;
        /// How long a leader lock lasts without renewal; whole seconds, at least 20.
        ttl: DurationText = default("'30s'");
        /// Pause between two rounds of the control loop; whole seconds.
        loop_wait: DurationText = default("'10s'");
        /// How long etcd or PostgreSQL may fail before a leader steps down; whole seconds.
        retry_timeout: DurationText = default("'10s'");
        /// Lag above which a member may not become leader.
        maximum_lag_on_failover: Bytes = default("'1MiB'");
        /// Whether a commit waits for a standby.
        synchronous: bool = default("true");
        /// Port of Patroni's REST interface.
        rest_port: Port = default("8008");
        /// Addresses of etcd; the nodes with the role "etcd" if absent.
        etcd: Vec<Url> = default("[]");
    }
}
