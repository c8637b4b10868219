//! The messages, one module per API, made from `schema/`.
#![allow(clippy::all, unused_imports, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
