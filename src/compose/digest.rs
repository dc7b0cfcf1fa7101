//! Digests by which a change is seen.

use orc_base::id::hex;
use sha2::{Digest, Sha256};

/// SHA-256 as 64 hexadecimal digits.
pub(crate) fn of(text: &str) -> String {
    hex(&Sha256::digest(text))
}
