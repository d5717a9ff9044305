//! Where calls are made: each client library, wrapped.
