//! The broker that Causeway's clusters run on.
