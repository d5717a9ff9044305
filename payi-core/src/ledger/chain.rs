//! Digests: of a text that may have to be erased, and of runs of facts, each over the one before.

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};

/// Length of a salt in bytes.
pub(crate) const SALT: usize = 16;

/// Fresh random bytes, so that an erased text cannot be found again by trying texts.
pub(crate) fn salt() -> [u8; SALT] {
    let mut salt = [0; SALT];
    if SystemRandom::new().fill(&mut salt).is_err() {
        salt = *uuid::Uuid::new_v4().as_bytes();
    }
    salt
}

/// The digest of a dictionary entry.
pub(crate) fn digest_text(salt: &[u8], kind: u8, text: &str) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(salt.len() + 1 + text.len());
    bytes.extend_from_slice(salt);
    bytes.push(kind);
    bytes.extend_from_slice(text.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    out
}
