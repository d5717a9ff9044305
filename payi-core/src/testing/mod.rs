//! For the tests of users: a recorder bound to a scope, and a provider on loopback.
