use super::*;

/// The settings of the KRaft file that ships with Kafka 4.
const STOCK: &str = "
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

fn read(text: &str) -> Result<BrokerConfig, ConfigError> {
    BrokerConfig::from_properties(&Properties::parse(text).unwrap())
}

#[test]
fn the_stock_file_is_taken_and_its_controller_listener_left_shut() {
    let config = read(STOCK).unwrap();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.listeners, [Listener { name: "PLAINTEXT".into(), host: String::new(), port: 9092 }]);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kraft-combined-logs")]);
    assert!(config.warnings.iter().any(|w| w.contains("CONTROLLER")));
    assert!(config.warnings.iter().any(|w| w.contains("num.io.threads")));
}

#[test]
fn nothing_given_serves_the_loopback_port() {
    let config = read("").unwrap();
    assert_eq!(config.listeners, [Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }]);
    assert!(config.warnings.is_empty());
    assert_eq!(config.number("num.partitions"), 1);
    assert!(config.flag("auto.create.topics.enable"));
    assert_eq!(config.text("log.flush").as_deref(), Some("ack"));
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    let error = read("log.retension.hours=1").unwrap_err();
    assert_eq!(error.to_string(), "unknown setting \"log.retension.hours\": did you mean \"log.retention.hours\"?");
}

#[test]
fn bad_values_name_the_setting() {
    assert!(read("num.partitions=none").unwrap_err().to_string().contains("num.partitions"));
    assert!(read("causeway.http.listen=9404").unwrap_err().to_string().contains("127.0.0.1:9404"));
    assert!(read("causeway.http.listen=0.0.0.0:9404").unwrap_err().to_string().contains("this machine"));
    assert!(read("listeners=9092").unwrap_err().to_string().contains("NAME://host:port"));
    assert!(read("listeners=PLAINTEXT://:90920").unwrap_err().to_string().contains("port"));
    assert!(read("listeners=SSL://:9092").unwrap_err().to_string().contains("not served"));
    assert!(read("listeners=OTHER://:9092").unwrap_err().to_string().contains("OTHER"));
}

#[test]
fn timeouts_of_consumer_groups_keep_their_bounds() {
    let bad = [
        "group.consumer.heartbeat.interval.ms=100",
        "group.consumer.session.timeout.ms=70000",
        "group.consumer.min.heartbeat.interval.ms=6000",
        "group.consumer.max.heartbeat.interval.ms=90000\ngroup.consumer.heartbeat.interval.ms=45000",
        "group.consumer.migration.policy=sideways",
    ];
    for text in bad {
        assert!(matches!(read(text), Err(ConfigError::Value(_))), "{text}");
    }
    assert!(read("group.consumer.min.heartbeat.interval.ms=100\ngroup.consumer.heartbeat.interval.ms=200").is_ok());
}
