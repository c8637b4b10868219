//! Operations that a client may do, as bit fields (KIP-430). With no authorizer that is every operation of the resource.

const READ: u8 = 3;
const WRITE: u8 = 4;
const CREATE: u8 = 5;
const DELETE: u8 = 6;
const ALTER: u8 = 7;
const DESCRIBE: u8 = 8;
const CLUSTER_ACTION: u8 = 9;
const DESCRIBE_CONFIGS: u8 = 10;
const ALTER_CONFIGS: u8 = 11;
const IDEMPOTENT_WRITE: u8 = 12;

/// On a topic.
pub const TOPIC: i32 = bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
/// On a group.
pub const GROUP: i32 = bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
/// On the cluster.
pub const CLUSTER: i32 =
    bits(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);
/// Nobody asked.
pub const UNKNOWN: i32 = i32::MIN;

const fn bits(codes: &[u8]) -> i32 {
    let (mut out, mut i) = (0, 0);
    while i < codes.len() {
        out |= 1 << codes[i];
        i += 1;
    }
    out
}

/// The bits if they were asked for.
pub const fn asked(asked: bool, operations: i32) -> i32 {
    if asked { operations } else { UNKNOWN }
}
