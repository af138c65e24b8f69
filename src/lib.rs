//! kestack
