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
    /// The engines tell in different ways where records were born.
    #[error(
        "a flow on the same cycle of identity flows has engine = \"record\", which tells where records come from by a header; whole batches do not carry one: give all flows of the cycle the same engine"
    )]
    MixedCycle,
    /// Only the batch engine writes exactly once.
    #[error(
        "a flow on the same cycle of identity flows has engine = \"record\", so this one copies record by record too, at least once: leave `delivery` out, or give all flows of the cycle engine = \"batch\""
    )]
    ExactlyOnceByRecords,
}

/// Where a flow lies in the graph of flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing that it copies could come to its target by another way, or back.
    Apart,
    /// There are several ways, or cycles, and the batch engine tells them apart.
    Woven,
    /// It lies on a cycle with a flow that has to copy record by record.
    CycleOfRecords,
}

/// Chooses: whole batches, exactly once, unless the flow asks for less, or another flow on its cycle for records one by one.
///
/// # Errors
/// The flow asks for what its place in the graph rules out.
pub fn choose(flow: &Flow, place: Place) -> Result<Choice, CannotChoose> {
    let records = |why| Choice { engine: Engine::Record, delivery: Delivery::AtLeastOnce, why };
    let cycle_of_records = place == Place::CycleOfRecords;
    match (flow.engine, flow.delivery) {
        // the configuration refuses exactly-once together with this engine
        (Some(Engine::Record), _) => Ok(records("the configuration says so")),
        (Some(Engine::Batch), _) if cycle_of_records => Err(CannotChoose::MixedCycle),
        (None, Some(Delivery::ExactlyOnce)) if cycle_of_records => Err(CannotChoose::ExactlyOnceByRecords),
        (None, _) if cycle_of_records => Ok(records("another flow on its cycle copies record by record")),
        (engine, delivery) => Ok(Choice {
            engine: Engine::Batch,
            delivery: delivery.unwrap_or(Delivery::ExactlyOnce),
            why: if engine.is_some() { "the configuration says so" } else { "nothing asks for records one by one" },
        }),
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

    fn chosen(more: &str, place: Place) -> Result<(Engine, Delivery), CannotChoose> {
        choose(&flow(more), place).map(|choice| (choice.engine, choice.delivery))
    }

    #[test]
    fn whole_batches_exactly_once_are_chosen_unless_something_else_is_asked_for() {
        for place in [Place::Apart, Place::Woven] {
            assert_eq!(chosen("", place), Ok((Engine::Batch, Delivery::ExactlyOnce)));
            assert_eq!(chosen("delivery = \"at-least-once\"", place), Ok((Engine::Batch, Delivery::AtLeastOnce)));
            assert_eq!(chosen("engine = \"record\"", place), Ok((Engine::Record, Delivery::AtLeastOnce)));
            assert_eq!(chosen("delivery = \"exactly-once\"", place), Ok((Engine::Batch, Delivery::ExactlyOnce)));
            let both = "engine = \"batch\"\ndelivery = \"at-least-once\"";
            assert_eq!(chosen(both, place), Ok((Engine::Batch, Delivery::AtLeastOnce)));
        }
    }

    #[test]
    fn a_cycle_has_one_engine_and_the_rest_is_refused_by_name() {
        let place = Place::CycleOfRecords;
        assert_eq!(chosen("", place), Ok((Engine::Record, Delivery::AtLeastOnce)));
        assert_eq!(chosen("engine = \"record\"", place), Ok((Engine::Record, Delivery::AtLeastOnce)));
        assert_eq!(chosen("engine = \"batch\"", place), Err(CannotChoose::MixedCycle));
        assert_eq!(chosen("delivery = \"exactly-once\"", place), Err(CannotChoose::ExactlyOnceByRecords));
    }
}
