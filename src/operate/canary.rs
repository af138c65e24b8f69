//! The objects that proofs, trials and `up` write to test the stack. Their names are known, so that a later run removes
//! those that a killed one left.

use crate::operate::chaos::Fault;
use crate::servers::s3::{S3Client, S3Error};

/// Start of the name of a proof's object; 16 hexadecimal digits follow.
const PROOF: &str = "kestack-verify-";

/// Start of the name of the object with which `up` tries the stack; 16 hexadecimal digits follow.
const READY: &str = "kestack-ready-";

/// Start of the names of a trial's objects; seed, fault and number follow.
const TRIAL: &str = "kestack-drill-";

/// Most objects that one look at a bucket removes: trials write for half a minute.
const MOST: usize = 100_000;

/// The name of a proof's object.
pub(crate) fn proof(id: [u8; 8]) -> String {
    format!("{PROOF}{}", hex::encode(id))
}

/// The name of the object with which `up` tries the stack.
pub(crate) fn ready(id: [u8; 8]) -> String {
    format!("{READY}{}", hex::encode(id))
}

/// The name of one of a trial's objects.
pub(crate) fn trial(seed: u64, fault: Fault, number: usize) -> String {
    format!("{TRIAL}{seed:x}-{fault}-{number}")
}

/// Removes what killed proofs and trials left in a bucket, and says how many objects those were. The stack's lock is
/// held: a proof that still runs holds it.
///
/// # Errors
/// Those of S3.
pub(crate) async fn sweep(s3: &S3Client, bucket: &str) -> Result<usize, S3Error> {
    let mut removed = 0;
    for prefix in [PROOF, READY, TRIAL] {
        loop {
            let names = s3.object_names(bucket, prefix).await?;
            let names: Vec<_> = names.into_iter().filter(|name| is_canary(name)).collect();
            if names.is_empty() || removed > MOST {
                break;
            }
            for name in &names {
                s3.delete_object_versions(bucket, name).await?;
            }
            removed += names.len();
        }
    }
    Ok(removed)
}

/// True if a proof or a trial wrote an object of this name: nothing of a user's is ever taken for one.
fn is_canary(name: &str) -> bool {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(id) = name.strip_prefix(PROOF).or_else(|| name.strip_prefix(READY)) {
        return id.len() == 16 && is_hex(id);
    }
    let Some((seed, rest)) = name.strip_prefix(TRIAL).and_then(|rest| rest.split_once('-')) else { return false };
    let Some((fault, number)) = rest.rsplit_once('-') else { return false };
    is_hex(seed) && Fault::ALL.iter().any(|known| known.to_string() == fault) && number.parse::<usize>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_are_canaries() {
        assert!(is_canary(&proof([7; 8])) && is_canary(&ready([7; 8])));
        for fault in Fault::ALL {
            assert!(is_canary(&trial(0xfeed, fault, 12)), "{fault}");
        }
        for name in [
            "kestack-verify-",
            "kestack-verify-07070707070707",
            "kestack-verify-0707070707070707.txt",
            "kestack-verify-zzzzzzzzzzzzzzzz",
            "kestack-drill-report.txt",
            "kestack-drill-feed-kes-down",
            "kestack-drill-feed-other-1",
            "kestack-drill-feed-kes-down-x",
            "notes/kestack-verify-0707070707070707",
        ] {
            assert!(!is_canary(name), "{name}");
        }
    }
}
