//! What happens to an event after the caller has gone on.
