//! Stored bytes: pieces of one MiB, each with a `HighwayHash` of 256 bits in front.

use highway::{HighwayHash as _, HighwayHasher, Key};

/// The key of the checksum is that of these decimals of π under a key of zeros.
const DECIMALS: &[u8] =
    b"1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253421170679";
/// Length of a checksum.
const HASH: usize = 32;
/// Length of a piece; the last one may be shorter.
const PIECE: usize = 1 << 20;

/// The content of stored bytes; `None` if a checksum is wrong.
pub(super) fn joined(stored: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(stored.len());
    for piece in stored.chunks(HASH + PIECE) {
        let (sum, bytes) = piece.split_at_checked(HASH)?;
        if hash(bytes) != sum {
            return None;
        }
        content.extend_from_slice(bytes);
    }
    Some(content)
}

/// The content as it is stored.
pub(super) fn of(content: &[u8]) -> Vec<u8> {
    content.chunks(PIECE).flat_map(|piece| [hash(piece).as_slice(), piece].concat()).collect()
}

fn hash(content: &[u8]) -> Vec<u8> {
    let key = HighwayHasher::new(Key::default()).hash256(DECIMALS);
    HighwayHasher::new(Key(key)).hash256(content).map(u64::to_le_bytes).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_of_any_length_is_stored_with_a_checksum_for_each_piece() {
        for (length, pieces) in [(1, 1), (PIECE, 1), (PIECE + 1, 2), (2 * PIECE + 500_000, 3)] {
            let content: Vec<_> = (0_u8..251).cycle().take(length).collect();
            let mut stored = of(&content);
            assert_eq!(stored.len(), length + pieces * HASH);
            assert_eq!(joined(&stored).as_ref(), Some(&content));
            assert_eq!(joined(&stored[..stored.len() - 1]), None, "cut");
            *stored.last_mut().unwrap() ^= 1;
            assert_eq!(joined(&stored), None, "damaged");
        }
    }
}
