//! What the keeper knows about PostgreSQL itself. So far: reading what `pg_controldata` prints.

pub mod controldata;
