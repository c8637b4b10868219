//! The command line: one file per verb.

pub mod init;
pub mod validate;
