//! ConsumerGroupDescribe (69).
//!
//! *Behaviour*: consumer groups with their members, what each has and what it should have. A group that is not there, or is
//! a classic one: GROUP_ID_NOT_FOUND. Topics that are gone are left out.
//! *Versions*: 0-1 (1: member type). *Skipped*: nothing.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};

use super::Context;
use crate::core::groups::consumer::{ConsumerMember, Partitions};
use crate::meta::MetaImage;
use crate::operations;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// `member_type` of members that speak the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// `member_type` of members that speak the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

/// Answers the request.
pub async fn handle(context: &Context, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let operations = operations::asked(request.include_authorized_operations, operations::GROUP);
    // A group named twice is shown once: else a small request could ask for an endless answer.
    let mut seen = HashSet::new();
    let once = request.group_ids.into_iter().filter(|id| seen.insert(id.clone()));
    let groups = once.map(|id| describe(context, id, operations)).collect();
    ConsumerGroupDescribeResponse { groups, ..Default::default() }
}

fn describe(context: &Context, group_id: String, authorized_operations: i32) -> DescribedGroup {
    let coordinator = &context.node.coordinator;
    if group_id.is_empty() {
        return DescribedGroup { group_id, error_code: ErrorCode::INVALID_GROUP_ID.0, ..Default::default() };
    }
    let Some((group, assignor)) = coordinator.describe_consumer(&group_id) else {
        let why = if coordinator.is_there(&group_id) { "is not a consumer group" } else { "not found" };
        return DescribedGroup {
            error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
            error_message: Some(format!("Group {group_id} {why}.")),
            group_id,
            ..Default::default()
        };
    };
    let image = context.node.meta.image();
    let none = Partitions::new();
    let members = group.members.values().map(|m| {
        let target = group.targets.get(&m.id).unwrap_or(&none);
        member(m, target, &image)
    });
    DescribedGroup {
        group_state: group.state().to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: assignor.to_owned(),
        members: members.collect(),
        authorized_operations,
        group_id,
        ..Default::default()
    }
}

fn member(m: &ConsumerMember, target: &Partitions, image: &MetaImage) -> Member {
    Member {
        member_id: m.id.clone(),
        instance_id: m.meta.instance_id.clone(),
        rack_id: m.meta.rack_id.clone(),
        member_epoch: m.current.epoch,
        client_id: m.meta.client_id.clone(),
        client_host: m.meta.client_host.clone(),
        subscribed_topic_names: m.meta.topics.iter().cloned().collect(),
        subscribed_topic_regex: Some(m.meta.regex.clone()),
        assignment: assignment(&m.assigned(), image),
        target_assignment: assignment(target, image),
        member_type: if m.is_classic() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        ..Default::default()
    }
}

fn assignment(partitions: &Partitions, image: &MetaImage) -> Assignment {
    let named = partitions.iter().filter_map(|(id, partitions)| {
        let topic_name = image.topic_by_id(*id)?.name.clone();
        let partitions = partitions.iter().copied().collect();
        Some(TopicPartitions { topic_id: *id, topic_name, partitions, ..Default::default() })
    });
    Assignment { topic_partitions: named.collect(), ..Default::default() }
}
