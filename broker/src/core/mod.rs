//! Sans-IO cores: every decision of the broker as a pure function of events and time.

pub mod cleaning;
pub mod features;
pub mod groups;
pub(crate) mod planted;
pub mod producer_state;
pub mod quota;
pub mod txn;
pub mod verification;
