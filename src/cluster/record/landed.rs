//! What the sink needs beside its state: headers for librdkafka, what an error means, and where records landed as runs.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};

use super::Headers;
use crate::core::batch::SourceRange;
use crate::core::ids::{SourceOffset, TargetOffset};
use crate::core::lane::Failure;
use crate::core::offset_map::{Run, push_run};

/// Headers as librdkafka takes them.
pub(super) fn owned(headers: &Headers) -> Option<OwnedHeaders> {
    match headers {
        Headers::None => None,
        Headers::Detached(headers) => Some(headers.clone()),
        Headers::Raw(raw) => {
            let mut owned = OwnedHeaders::new_with_capacity(raw.len());
            for (key, value) in raw {
                let key = std::str::from_utf8(key).expect("batches with other keys are written by the exact path");
                owned = owned.insert(Header { key, value: value.as_deref() });
            }
            Some(owned)
        }
    }
}

/// What an error means for the lane.
pub(super) fn judge(error: &KafkaError, range: SourceRange) -> Failure {
    use RDKafkaErrorCode as Code;
    let reason = error.to_string();
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidMessage
            | Code::InvalidMessageSize,
        ) => Failure::Poison { range, reason },
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::PolicyViolation) => {
            Failure::Refuse { reason: format!("the target refuses: {reason}") }
        }
        _ => Failure::Retry { reason },
    }
}

/// Landed records as runs: a new one starts at every irregularity on either side.
pub(super) fn runs(landed: &[(SourceOffset, Option<TargetOffset>)]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (source, target) in landed.iter().filter_map(|(source, target)| Some((*source, (*target)?))) {
        push_run(&mut runs, Run::new(source, 1, target));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_every_irregularity_of_either_side() {
        let at = |source: i64, target: i64| (SourceOffset(source), Some(TargetOffset(target)));
        let landed = [at(0, 10), at(1, 11), at(3, 12), at(4, 13), at(5, 20)];
        let expected = [
            Run::new(SourceOffset(0), 2, TargetOffset(10)),
            Run::new(SourceOffset(3), 2, TargetOffset(12)),
            Run::new(SourceOffset(5), 1, TargetOffset(20)),
        ];
        assert_eq!(runs(&landed), expected);
    }
}
