//! Online migration (KIP-848): a classic group of consumers becomes a consumer group when the first member of the new
//! protocol joins, and a consumer group becomes classic again when the last one leaves.

use causeway_wire::ErrorCode;

use super::classic::CONSUMER;
use super::protocol::{Subscription, decode_assignment, encode_assignment, version_of};
use super::records::{GroupEpoch, TargetEpoch};
use super::{
    Assigned, ClassicSide, ConsumerGroup, ConsumerLimits, ConsumerMember, Current, MemberMetadata, MemberState, Record,
    Refusal, Topics, refuse,
};
use crate::core::groups::group::ClassicParts;
use crate::core::groups::{Group, GroupLimits, Member, Millis};

/// Makes a consumer group of a classic one: the group, and the records that make it.
pub fn upgrade(
    group: &Group,
    limits: &ConsumerLimits,
    topics: &dyn Topics,
    now: Millis,
) -> Result<(ConsumerGroup, Vec<Record>), Refusal> {
    let no = |why: &str| {
        let id = &group.id;
        let message = format!("Cannot upgrade classic group {id} to consumer group because {why}.");
        refuse(ErrorCode::GROUP_ID_NOT_FOUND, message)
    };
    if !limits.migration.up() {
        return no("the online upgrade is disabled");
    }
    if group.protocol_type.as_deref() != Some(CONSUMER) {
        return no("the group does not use the consumer embedded protocol");
    }
    if group.members.len() > limits.members_max {
        return no("the group size exceeds the consumer group maximum size");
    }
    let mut members = Vec::new();
    for member in group.members.values() {
        match member_up(group, member, topics) {
            Some(found) => members.push(found),
            None => return no("the embedded consumer protocol is malformed"),
        }
    }
    let mut records: Vec<Record> = members.iter().map(|m| Record::Member(m.id.clone(), Some(m.meta.clone()))).collect();
    // Hash 0 is no topic's: the first heartbeat looks at all of them.
    records.push(Record::Group(Some(GroupEpoch { epoch: group.generation, hash: 0 })));
    records.extend(members.iter().map(|m| Record::Target(m.id.clone(), Some(m.assigned()))));
    records.push(Record::TargetEpoch(Some(TargetEpoch { epoch: group.generation, made: 0 })));
    records.extend(members.iter().map(|m| Record::Current(m.id.clone(), Some(m.current.clone()))));
    let mut made = ConsumerGroup::new(&group.id);
    for record in &records {
        made.apply(record, now);
    }
    made.restart_sessions(limits.session_timeout, now);
    Ok((made, records))
}

fn member_up(group: &Group, member: &Member, topics: &dyn Topics) -> Option<ConsumerMember> {
    let protocol = group.protocol.as_deref();
    let metadata = match protocol {
        Some(protocol) => member.metadata(protocol),
        None => member.protocols.first()?.1.clone(),
    };
    let subscription = Subscription::decode(&metadata, topics)?;
    let epoch = group.generation;
    let assigned: Assigned = decode_assignment(&member.assignment, topics)?
        .into_iter()
        .map(|(topic, partitions)| (topic, partitions.into_iter().map(|p| (p, epoch)).collect()))
        .collect();
    Some(ConsumerMember {
        id: member.id.clone(),
        meta: MemberMetadata {
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: subscription.topics,
            regex: String::new(),
            rebalance_timeout: member.rebalance_timeout,
            assignor: None,
            classic: Some(ClassicSide { session_timeout: member.session_timeout, protocols: member.protocols.clone() }),
        },
        current: Current {
            epoch,
            previous_epoch: epoch,
            state: MemberState::Stable,
            assigned,
            revoking: Assigned::new(),
        },
    })
}

/// Makes a classic group of a consumer group whose members all speak the classic protocol, those who leave aside.
pub fn downgrade(
    group: &ConsumerGroup,
    leaving: &[String],
    limits: GroupLimits,
    topics: &dyn Topics,
    now: Millis,
) -> Group {
    let stays = group.members.values().filter(|m| !leaving.contains(&m.id));
    let parts: Vec<ClassicParts> = stays
        .filter_map(|m| {
            let classic = m.meta.classic.as_ref()?;
            let version = classic.protocols.first().map_or(0, |(_, metadata)| version_of(metadata));
            Some(ClassicParts {
                id: m.id.clone(),
                instance_id: m.meta.instance_id.clone(),
                client_id: m.meta.client_id.clone(),
                client_host: m.meta.client_host.clone(),
                session_timeout: classic.session_timeout,
                rebalance_timeout: m.meta.rebalance_timeout,
                protocols: classic.protocols.clone(),
                assignment: encode_assignment(&m.current.assigned, version, topics),
            })
        })
        .collect();
    Group::from_parts(&group.id, limits, CONSUMER, group.epoch, parts, now)
}
