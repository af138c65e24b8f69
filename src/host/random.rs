//! Random bytes of the system, as text.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// So many random bytes in hex.
///
/// # Errors
/// If the system gives none.
pub(crate) fn hex<const BYTES: usize>() -> Result<Zeroizing<String>, Unspecified> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    rand::fill(bytes.as_mut())?;
    Ok(Zeroizing::new(hex::encode(*bytes)))
}
