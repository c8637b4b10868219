//! Which engine a flow runs on, and what it promises about duplicates.

use crate::config::valid::{Delivery, Engine, Flow};

/// The engine of a flow, its delivery, and why it is this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The engine.
    pub engine: Engine,
    /// What is promised about duplicates.
    pub delivery: Delivery,
    /// Why this engine, for people.
    pub why: &'static str,
}

/// What a flow asks for cannot be done together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotChoose {
    /// Records of a flow on a cycle carry provenance, which whole batches do not take.
    #[error(
        "the flow lies on a cycle of identity flows: its records carry provenance, which engine = \"batch\" cannot add; leave `engine` out"
    )]
    BatchOnACycle,
    /// Only the batch engine writes exactly once.
    #[error(
        "the flow lies on a cycle of identity flows, which the record engine copies, at least once; exactly-once is not supported there yet"
    )]
    ExactlyOnceOnACycle,
}

/// Chooses: whole batches, exactly once, unless the flow asks for less, or its place in the graph for records one by one. `cyclic`: the flow lies
/// on a cycle of identity flows.
///
/// # Errors
/// The flow asks for what its place in the graph rules out.
pub fn choose(flow: &Flow, cyclic: bool) -> Result<Choice, CannotChoose> {
    let records = |why| Choice { engine: Engine::Record, delivery: Delivery::AtLeastOnce, why };
    let batches = |delivery: Option<Delivery>, why| Choice {
        engine: Engine::Batch,
        delivery: delivery.unwrap_or(Delivery::ExactlyOnce),
        why,
    };
    match (flow.engine, flow.delivery) {
        (Some(Engine::Batch), _) if cyclic => Err(CannotChoose::BatchOnACycle),
        (_, Some(Delivery::ExactlyOnce)) if cyclic => Err(CannotChoose::ExactlyOnceOnACycle),
        (None, _) if cyclic => Ok(records("it lies on a cycle of identity flows, and its records carry provenance")),
        // the configuration refuses exactly-once together with this engine
        (Some(Engine::Record), _) => Ok(records("the configuration says so")),
        (Some(Engine::Batch), delivery) => Ok(batches(delivery, "the configuration says so")),
        (None, delivery) => Ok(batches(delivery, "nothing asks for records one by one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn flow(more: &str) -> Flow {
        let text = format!(
            "[clusters.east]\nbootstrap = \"a:1\"\n[clusters.west]\nbootstrap = \"b:1\"\n\
             [[flows]]\nname = \"f\"\nfrom = \"east\"\nto = \"west\"\ntopics = {{ include = [\"*\"] }}\n{more}\n"
        );
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("c.toml");
        std::fs::write(&file, text).expect("a file");
        let loaded = config::load_from(&config::Sources { file, ..Default::default() });
        loaded.expect("a valid configuration").config.flows[0].clone()
    }

    fn chosen(more: &str, cyclic: bool) -> Result<(Engine, Delivery), CannotChoose> {
        choose(&flow(more), cyclic).map(|choice| (choice.engine, choice.delivery))
    }

    #[test]
    fn whole_batches_exactly_once_are_chosen_unless_something_else_is_asked_for() {
        assert_eq!(chosen("", false), Ok((Engine::Batch, Delivery::ExactlyOnce)));
        assert_eq!(chosen("delivery = \"at-least-once\"", false), Ok((Engine::Batch, Delivery::AtLeastOnce)));
        assert_eq!(chosen("engine = \"record\"", false), Ok((Engine::Record, Delivery::AtLeastOnce)));
        assert_eq!(chosen("delivery = \"exactly-once\"", false), Ok((Engine::Batch, Delivery::ExactlyOnce)));
        assert_eq!(chosen("engine = \"batch\"", false), Ok((Engine::Batch, Delivery::ExactlyOnce)));
        let both = "engine = \"batch\"\ndelivery = \"at-least-once\"";
        assert_eq!(chosen(both, false), Ok((Engine::Batch, Delivery::AtLeastOnce)));
    }

    #[test]
    fn a_cycle_takes_records_one_by_one_and_refuses_the_rest_by_name() {
        assert_eq!(chosen("", true), Ok((Engine::Record, Delivery::AtLeastOnce)));
        assert_eq!(chosen("engine = \"batch\"", true), Err(CannotChoose::BatchOnACycle));
        assert_eq!(chosen("delivery = \"exactly-once\"", true), Err(CannotChoose::ExactlyOnceOnACycle));
    }
}
