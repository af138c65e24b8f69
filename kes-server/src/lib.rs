//! kes
