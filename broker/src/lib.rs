//! The broker that Causeway's clusters run on.

pub mod core;
pub mod log;
