//! Drills: load with self-describing records, faults, and the checkers that judge what is left in the logs.
//!
//! A drill never believes the daemon: its verdict comes from what its own clients wrote down ([`history`]) and from a
//! full read of every log ([`logs`]), put together by pure code ([`checker`]).

pub mod checker;
pub mod error;
pub mod fleet;
pub mod history;
pub mod logs;
pub mod payload;
pub mod positions;
pub mod processes;
pub mod region_loss;
pub mod shapes;
pub mod stage;
pub mod workload;
