//! (in progress)
/// (in progress)
#[derive(Debug)]
pub struct Archive;
