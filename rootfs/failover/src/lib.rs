//! PURE: who may serve as the primary of a PostgreSQL pair, and what everyone does about it.
