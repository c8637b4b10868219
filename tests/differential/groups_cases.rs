//! The cases with groups.

use super::*;

pub const CASES: &[Case] = &[
    ("join: an empty group id", |p| join(p, 5, &joining("", ""))),
    ("join: an unknown member", |p| join(p, 5, &joining("g1", "who"))),
    ("join: without a member id", |p| join(p, 5, &joining("g1", ""))),
    ("join: without a member id in an old version", |p| {
        let joined = p.quiet(3, &joining("g-old", "")).unwrap();
        p.log(format_args!("generation {}, error {}", joined.generation_id, joined.error_code));
        leave(p, "g-old", &joined.member_id);
    }),
    ("join: no protocols", |p| join(p, 5, &JoinGroupRequest { protocols: Vec::new(), ..joining("g2", "") })),
    ("join: no protocol type", |p| join(p, 5, &JoinGroupRequest { protocol_type: String::new(), ..joining("g2", "") })),
    ("join: a session too short", |p| join(p, 5, &JoinGroupRequest { session_timeout_ms: 10, ..joining("g2", "") })),
    ("join: a session too long", |p| {
        join(p, 5, &JoinGroupRequest { session_timeout_ms: 3_600_000, ..joining("g2", "") });
    }),
    ("join: a negative session", |p| join(p, 5, &JoinGroupRequest { session_timeout_ms: -1, ..joining("g2", "") })),
    ("join: a static member nobody knows", |p| {
        join(p, 5, &JoinGroupRequest { group_instance_id: Some("i".into()), ..joining("g2", "who") });
    }),
    ("join: another protocol type", |p| {
        let (id, _) = member(p, "g3");
        join(p, 5, &JoinGroupRequest { protocol_type: "connect".into(), ..joining("g3", "") });
        leave(p, "g3", &id);
    }),
    ("join: protocols nobody shares", |p| {
        let (id, _) = member(p, "g3");
        join(p, 5, &JoinGroupRequest { protocols: vec![protocol("other")], ..joining("g3", "") });
        leave(p, "g3", &id);
    }),
    ("join: again as it is", |p| {
        let (id, _) = member(p, "g4");
        join(p, 5, &joining("g4", &id));
        leave(p, "g4", &id);
    }),
    ("sync: an unknown group", |p| {
        p.call(3, &syncing("nobody", "m", 1));
    }),
    ("sync: an empty group id", |p| {
        p.call(3, &syncing("", "m", 1));
    }),
    ("sync: an unknown member", |p| {
        let (id, generation) = member(p, "g5");
        p.call(3, &syncing("g5", "who", generation));
        leave(p, "g5", &id);
    }),
    ("sync: a wrong generation", |p| {
        let (id, generation) = member(p, "g5");
        p.call(3, &syncing("g5", &id, generation + 1));
        leave(p, "g5", &id);
    }),
    ("sync: again", |p| {
        let (id, generation) = member(p, "g5");
        p.call(3, &syncing("g5", &id, generation));
        leave(p, "g5", &id);
    }),
    ("sync: another protocol", |p| {
        let (id, generation) = member(p, "g5");
        let other = SyncGroupRequest {
            protocol_type: Some("consumer".into()),
            protocol_name: Some("other".into()),
            ..syncing("g5", &id, generation)
        };
        p.call(5, &other);
        leave(p, "g5", &id);
    }),
    ("heartbeat: an unknown group", |p| beat(p, "nobody", "m", 1)),
    ("heartbeat: an empty group id", |p| beat(p, "", "m", 1)),
    ("heartbeat: an unknown member", |p| {
        emptied(p, "g6");
        beat(p, "g6", "who", 1);
    }),
    ("heartbeat: a wrong generation", |p| {
        let (id, generation) = member(p, "g6");
        beat(p, "g6", &id, generation - 1);
        beat(p, "g6", &id, generation);
        leave(p, "g6", &id);
    }),
    ("heartbeat: a static member nobody knows", |p| {
        let request = HeartbeatRequest {
            group_id: "g6".into(),
            member_id: "m".into(),
            generation_id: 1,
            group_instance_id: Some("i".into()),
            ..Default::default()
        };
        p.call(3, &request);
    }),
    ("leave: an unknown group", |p| leaving(p, "nobody", &[("m", None)])),
    ("leave: an empty group id", |p| leaving(p, "", &[("m", None)])),
    ("leave: an unknown member", |p| leaving(p, "g6", &[("who", None)])),
    ("leave: an unknown static member", |p| leaving(p, "g6", &[("", Some("i"))])),
    ("leave: nobody", |p| leaving(p, "g6", &[])),
    ("leave: twice at once", |p| {
        let (id, _) = member(p, "g7");
        leaving(p, "g7", &[(&id, None), (&id, None)]);
    }),
    ("leave: version 0, unknown", |p| {
        p.call(0, &LeaveGroupRequest { group_id: "g7".into(), member_id: "who".into(), ..Default::default() });
    }),
    ("commit: without members", |p| commit(p, 7, &committing("alone", "", -1, "plain", 0, 5))),
    ("commit: an empty group id", |p| {
        p.call(7, &committing("", "", -1, "plain", 0, 5));
    }),
    ("commit: an unknown topic", |p| commit(p, 7, &committing("alone", "", -1, "nowhere", 0, 5))),
    ("commit: an unknown partition", |p| commit(p, 7, &committing("alone", "", -1, "plain", 9, 5))),
    ("commit: a negative offset", |p| commit(p, 7, &committing("alone", "", -1, "plain", 1, -7))),
    ("commit: metadata too long", |p| {
        let mut long = committing("alone", "", -1, "plain", 1, 5);
        long.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000));
        commit(p, 7, &long);
    }),
    ("commit: no metadata", |p| {
        let mut none = committing("alone", "", -1, "plain", 1, 5);
        none.topics[0].partitions[0].committed_metadata = None;
        commit(p, 7, &none);
    }),
    ("commit: a generation to an unknown group", |p| commit(p, 7, &committing("never-was", "", 3, "plain", 0, 5))),
    ("commit: a member to an unknown group", |p| commit(p, 7, &committing("never-was", "m", 3, "plain", 0, 5))),
    ("commit: an unknown member", |p| {
        let (id, generation) = member(p, "g8");
        commit(p, 7, &committing("g8", "who", generation, "plain", 0, 5));
        leave(p, "g8", &id);
    }),
    ("commit: a wrong generation", |p| {
        let (id, generation) = member(p, "g8");
        commit(p, 7, &committing("g8", &id, generation + 3, "plain", 0, 5));
        commit(p, 7, &committing("g8", &id, generation, "plain", 0, 6));
        leave(p, "g8", &id);
    }),
    ("commit: from outside a group that has members", |p| {
        let (id, _) = member(p, "g8");
        commit(p, 7, &committing("g8", "", -1, "plain", 0, 9));
        leave(p, "g8", &id);
    }),
    ("commit: a static member nobody knows", |p| {
        let (id, generation) = member(p, "g8");
        let asked = OffsetCommitRequest {
            group_instance_id: Some("i".into()),
            ..committing("g8", &id, generation, "plain", 0, 9)
        };
        p.call(7, &asked);
        leave(p, "g8", &id);
    }),
    ("commit: no topics", |p| {
        p.call(7, &OffsetCommitRequest { topics: Vec::new(), ..committing("alone", "", -1, "plain", 0, 5) });
    }),
    ("commit: an unknown topic id", |p| {
        let mut asked = committing("alone", "", -1, "", 0, 5);
        asked.topics[0].topic_id = causeway_wire::Uuid([8; 16]);
        p.call(10, &asked);
    }),
    ("offset fetch: an unknown group", |p| fetch(p, "never-was", Some(vec![("plain", 0)]))),
    ("offset fetch: an unknown topic", |p| fetch(p, "alone", Some(vec![("nowhere", 0)]))),
    ("offset fetch: an unknown partition", |p| fetch(p, "alone", Some(vec![("plain", 77)]))),
    ("offset fetch: an empty group id", |p| fetch(p, "", None)),
    ("offset fetch: as a member of a classic group", |p| fetch_as(p, "alone", Some("m"), 4, Some(vec![("plain", 0)]))),
    ("offset fetch: an empty list", |p| fetch(p, "alone", Some(Vec::new()))),
    ("offset fetch: version 1", |p| {
        let topic =
            OffsetFetchRequestTopic { name: "plain".into(), partition_indexes: vec![0, 5], ..Default::default() };
        let request = OffsetFetchRequest { group_id: "alone".into(), topics: Some(vec![topic]), ..Default::default() };
        p.call(1, &request);
    }),
    ("describe groups: an unknown one", |p| describe(p, 5, "never-was")),
    ("describe groups: an unknown one in version 6", |p| describe(p, 6, "never-was")),
    ("describe groups: an empty id", |p| describe(p, 5, "")),
    ("describe groups: without members", |p| describe(p, 5, "alone")),
    ("describe groups: with a member", |p| {
        let (id, _) = member(p, "g9");
        describe(p, 5, "g9");
        leave(p, "g9", &id);
        describe(p, 5, "g9");
    }),
    ("list groups: a state nobody knows", |p| list(p, &["Dreaming"], &[])),
    ("list groups: a state in small letters", |p| list(p, &["empty"], &[])),
    ("list groups: a type nobody knows", |p| list(p, &[], &["other"])),
    ("list groups: of a type", |p| list(p, &[], &["Classic"])),
    ("list groups: of a type without one", |p| list(p, &[], &["share"])),
    ("delete groups: an unknown one", |p| delete(p, &["never-was"])),
    ("delete groups: an empty id", |p| delete(p, &[""])),
    ("delete groups: with a member", |p| {
        let (id, _) = member(p, "g10");
        delete(p, &["g10"]);
        leave(p, "g10", &id);
        delete(p, &["g10"]);
    }),
    ("delete groups: one twice", |p| {
        emptied(p, "g11");
        delete(p, &["g11", "g11"]);
    }),
    ("delete groups: good and bad together", |p| {
        emptied(p, "g11");
        delete(p, &["g11", "never-was"]);
    }),
    ("delete groups: none", |p| delete(p, &[])),
    ("offset delete: an unknown group", |p| forget(p, "never-was", "plain", 0)),
    ("offset delete: an empty group id", |p| forget(p, "", "plain", 0)),
    ("offset delete: an unknown topic", |p| forget(p, "alone", "nowhere", 0)),
    ("offset delete: an unknown partition", |p| forget(p, "alone", "plain", 66)),
    ("offset delete: one that was committed", |p| {
        forget(p, "alone", "plain", 1);
        fetch(p, "alone", None);
    }),
    ("find coordinator: a group", |p| coordinator(p, "g", 0)),
    ("find coordinator: an empty group", |p| coordinator(p, "", 0)),
    ("find coordinator: a kind nobody knows", |p| coordinator(p, "g", 9)),
    ("find coordinator: a share group that is no key", |p| coordinator(p, "g", 2)),
    ("find coordinator: no keys", |p| {
        p.call(4, &FindCoordinatorRequest::default());
    }),
    ("find coordinator: version 0", |p| {
        p.call(0, &FindCoordinatorRequest { key: "g".into(), ..Default::default() });
    }),
    ("find coordinator: a kind nobody knows in an old version", |p| {
        p.call(2, &FindCoordinatorRequest { key: "g".into(), key_type: 8, ..Default::default() });
    }),
    ("consumer group: an empty group id", |p| {
        heartbeat(p, &consumer("", "m1", 0));
    }),
    ("consumer group: an empty member id", |p| {
        heartbeat(p, &consumer("c1", "", 0));
    }),
    ("consumer group: an unknown member", |p| {
        heartbeat(p, &consumer("c1", "who", 4));
    }),
    ("consumer group: an unknown member leaves", |p| {
        heartbeat(p, &consumer("c1", "who", -1));
    }),
    ("consumer group: an epoch below all", |p| {
        heartbeat(p, &consumer("c1", "m1", -9));
    }),
    ("consumer group: no subscription", |p| {
        heartbeat(p, &ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..consumer("c1", "m1", 0) });
    }),
    ("consumer group: no rebalance timeout", |p| {
        heartbeat(p, &ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..consumer("c1", "m1", 0) });
    }),
    ("consumer group: partitions before it joined", |p| {
        heartbeat(p, &ConsumerGroupHeartbeatRequest { topic_partitions: None, ..consumer("c1", "m1", 0) });
    }),
    ("consumer group: an assignor nobody knows", |p| {
        heartbeat(
            p,
            &ConsumerGroupHeartbeatRequest { server_assignor: Some("best".into()), ..consumer("c1", "m1", 0) },
        );
    }),
    ("consumer group: an empty instance id", |p| {
        heartbeat(p, &ConsumerGroupHeartbeatRequest { instance_id: Some(String::new()), ..consumer("c1", "m1", 0) });
    }),
    ("consumer group: an empty rack", |p| {
        heartbeat(p, &ConsumerGroupHeartbeatRequest { rack_id: Some(String::new()), ..consumer("c1", "m1", 0) });
    }),
    ("consumer group: a pattern that is none", |p| {
        let request =
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("a(b".into()), ..consumer("c1", "m1", 0) };
        heartbeat(p, &request);
    }),
    ("consumer group: comes and goes", |p| with_consumer(p, "c2", |_, _, _| ())),
    ("consumer group: a wrong epoch", |p| {
        with_consumer(p, "c3", |p, group, epoch| {
            heartbeat(p, &consumer(group, "m1", epoch + 5));
        });
    }),
    ("consumer group: described", |p| with_consumer(p, "c4", |p, group, _| describe_consumer(p, group))),
    ("consumer group: described as a classic one", |p| with_consumer(p, "c4", |p, group, _| describe(p, 5, group))),
    ("consumer group: an unknown one described", |p| describe_consumer(p, "never-was")),
    ("consumer group: a classic one described", |p| describe_consumer(p, "alone")),
    ("consumer group: joined as a classic one", |p| {
        with_consumer(p, "c5", |p, group, _| {
            join(p, 5, &JoinGroupRequest { protocol_type: "connect".into(), ..joining(group, "") })
        });
    }),
    ("consumer group: commits with a wrong epoch", |p| {
        with_consumer(p, "c6", |p, group, epoch| commit(p, 9, &committing(group, "m1", epoch + 7, "plain", 0, 3)));
    }),
    ("consumer group: commits as an unknown member", |p| {
        with_consumer(p, "c6", |p, group, epoch| commit(p, 9, &committing(group, "who", epoch, "plain", 0, 3)));
    }),
    ("consumer group: commits in a classic version", |p| {
        with_consumer(p, "c6", |p, group, epoch| commit(p, 8, &committing(group, "m1", epoch, "plain", 0, 3)));
    }),
    ("consumer group: commits", |p| {
        with_consumer(p, "c6", |p, group, epoch| commit(p, 9, &committing(group, "m1", epoch, "plain", 0, 3)));
    }),
    ("consumer group: offsets asked with a wrong epoch", |p| {
        with_consumer(p, "c6", |p, group, epoch| fetch_as(p, group, Some("m1"), epoch + 2, Some(vec![("plain", 0)])));
    }),
    ("consumer group: deleted with a member", |p| with_consumer(p, "c7", |p, group, _| delete(p, &[group]))),
    ("consumer group: heartbeats as a classic one", |p| {
        with_consumer(p, "c7", |p, group, epoch| beat(p, group, "m1", epoch))
    }),
];
