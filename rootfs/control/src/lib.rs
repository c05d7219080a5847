//! PURE: the words that nodectl, the node API and PID 1 exchange.
