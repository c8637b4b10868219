//! Fault runs.
fn main() {}
