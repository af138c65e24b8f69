//! The data of a stack on disk: MinIO's drive and the record of the key guard.

pub mod drive;
pub mod guard;
