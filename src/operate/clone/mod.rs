//! A MinIO of its own on a clone of a drive: whatever is read or tried there touches neither the drive nor anybody who
//! uses it.
//!
//! [`ClonedDrive`] shares its blocks with the drive where the file system can clone, and the content of objects by links
//! where it cannot. It takes objects and MinIO's format and nothing else of MinIO's own: without configuration, users and
//! settings of buckets this MinIO sends no events, replicates nothing and expires nothing. [`CloneServer`] starts it on the
//! loopback for a root user that nobody else knows. Both go with the value; if kestack is killed, with the next clone or
//! [`clear_abandoned`].

mod apart;
mod drive;
mod need;
mod places;
mod reader;
mod server;

pub(crate) use apart::check_apart;
pub(crate) use drive::{ClonePlan, ClonedDrive};
pub(crate) use need::Need;
pub(crate) use reader::{Digest, Patience, digest, in_parallel, is_changed};
pub(crate) use server::{CloneServer, Kms, secrets};

use crate::stack::Layout;

/// Removes what killed processes left of a stack's clones, wherever they were made, and of the settings of their MinIO: a key in
/// clear, if they were killed while that started.
pub(crate) fn clear_abandoned(stack: &Layout) {
    server::clear_settings();
    places::clear(stack);
}
