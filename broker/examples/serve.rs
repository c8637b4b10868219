//! Serves one broker with settings given as `key=value` arguments, until Ctrl-C.

use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig, BrokerError};

fn main() -> Result<(), BrokerError> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let mut properties = Properties::default();
    for text in std::env::args().skip(1) {
        properties.set_override(&text).map_err(causeway_broker::config::ConfigError::from)?;
    }
    let config = BrokerConfig::from_properties(&properties)?;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let broker = Broker::start(config).await?;
        let _ = tokio::signal::ctrl_c().await;
        broker.shutdown().await;
        Ok(())
    })
}
