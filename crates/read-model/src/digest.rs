//! Digests as numbers: short, and unequal for unequal bytes in all likelihood.

use sha2::{Digest as _, Sha256};

/// Returns the first 8 bytes of the SHA-256 of `bytes`, as a big-endian number.
#[must_use]
pub fn digest64(bytes: impl AsRef<[u8]>) -> u64 {
    let digest = Sha256::digest(bytes);
    let first = digest.iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}
