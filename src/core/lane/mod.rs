//! The lane as a pure state machine: [`Event`]s in, [`Command`]s out (architecture, section 4). It holds no payload, no clock, no connection.
mod event;
pub use event::{
    Command, Event, Failure, GapPolicy, GenerationPolicy, Limits, Opening, Policy, Start, State, StopReason,
};
