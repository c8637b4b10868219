//! Topics of a flow: names, partition counts, settings; and two flows that meet.

#[path = "lane_support/mod.rs"]
mod lane_support;

use causeway_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use causeway_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use lane_support::{PATIENCE, World, flow, lane, wait_for, wait_position};

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_at_the_source_are_added_at_the_target_and_read_from_their_start() {
    let world = World::start().await;
    world.east.create("t", 2, &[]).await;
    world.east.fill("t", 0, 0, 100).await;
    let daemon = world.daemon("");
    wait_position(&daemon, "t", 0, 100).await;
    let topic = CreatePartitionsTopic { name: "t".into(), count: 5, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let answer = world.east.client.controller(request).await.unwrap();
    assert_eq!(answer.results[0].error_code, 0, "{answer:?}");
    world.east.client.metadata(Some(&["t"])).await.unwrap();
    world.east.fill("t", 4, 0, 50).await;
    wait_position(&daemon, "t", 4, 50).await;
    world.west.client.metadata(Some(&["t"])).await.unwrap();
    assert_eq!(world.west.numbers("t", 4).await, (0..50).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_fewer_partitions_is_refused_by_name_for_the_rest_only() {
    let world = World::start().await;
    world.east.create("t", 3, &[]).await;
    world.west.create("t", 2, &[]).await;
    for partition in 0..3 {
        world.east.fill("t", partition, 0, 20).await;
    }
    let daemon = world.daemon("");
    for partition in 0..2 {
        wait_position(&daemon, "t", partition, 20).await;
    }
    let refused = flow(&daemon).refused;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].topic == "t" && refused[0].reason.contains("never modulo"), "{refused:?}");
    assert!(lane(&daemon, "t", 2).is_none());
    assert_eq!(world.west.numbers("t", 1).await, (0..20).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixed_names_and_settings_are_carried_over() {
    let world = World::start().await;
    world.east.create("t", 1, &[("retention.ms", "123456789"), ("min.insync.replicas", "1")]).await;
    world.east.fill("t", 0, 0, 20).await;
    let daemon = world.daemon("naming = \"prefixed\"");
    wait_position(&daemon, "t", 0, 20).await;
    assert_eq!(world.west.numbers("east.t", 0).await, (0..20).collect::<Vec<_>>());
    let resource =
        DescribeConfigsResource { resource_type: 2, resource_name: "east.t".into(), configuration_keys: None };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = world.west.client.any(request).await.unwrap();
    let configs = &answer.results[0].configs;
    let own = |name: &str| configs.iter().find(|c| c.name == name && c.config_source == 1).map(|c| c.value.clone());
    assert_eq!(own("retention.ms"), Some(Some("123456789".into())));
    assert_eq!(own("min.insync.replicas"), None, "a setting about one cluster's brokers stays there");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_under_identity_names_both_ways_every_record_is_in_each_cluster_once() {
    let world = World::start().await;
    for side in [&world.east, &world.west] {
        side.create("t", 1, &[]).await;
    }
    world.east.fill("t", 0, 0, 300).await;
    world.west.fill("t", 0, 10_000, 200).await;
    let (east, west, store) = (&world.east.address, &world.west.address, world.dir.path().join("store"));
    let daemon = world.daemon_of(&format!(
        "[clusters.east]\nbootstrap = \"{east}\"\n[clusters.west]\nbootstrap = \"{west}\"\n[store]\ndir = \"{}\"\n\
         [[flows]]\nname = \"f\"\nfrom = \"east\"\nto = \"west\"\ntopics = {{ include = [\"*\"] }}\n\
         [[flows]]\nname = \"back\"\nfrom = \"west\"\nto = \"east\"\ntopics = {{ include = [\"*\"] }}\n",
        store.display()
    ));
    let both = async || {
        let ends = (world.east.end("t", 0).await, world.west.end("t", 0).await);
        // 300 and 200 records, and a marker on each side that keeps older writers out
        (ends == (501, 501)).then_some(())
    };
    wait_for("both sides hold everything", &daemon, both).await;
    world.west.fill("t", 0, 20_000, 100).await;
    let all = async || (lane(&daemon, "t", 0)?.caught_up && world.east.end("t", 0).await >= 601).then_some(());
    wait_for("the later records cross", &daemon, all).await;
    // an echo would come within one beat of the other flow: give it several
    tokio::time::sleep(PATIENCE / 20).await;
    for side in [&world.east, &world.west] {
        let mut numbers = side.numbers("t", 0).await;
        numbers.sort_unstable();
        let expected: Vec<usize> = (0..300).chain(10_000..10_200).chain(20_000..20_100).collect();
        assert_eq!(numbers, expected);
    }
    daemon.stop().await;
}
