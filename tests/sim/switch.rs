//! A failover or promote in mid-flight, with interruptions between its steps.
use causeway::core::{
    failover::{ForkPoint, Switch, SwitchKind, SwitchStep, resumable, switched},
    ids::{FlowEpoch, SourceOffset, TargetOffset},
    progress::Record,
};

use crate::{daemon::NOW, world::World};

/// Steps that draining may take.
const DRAIN_STEPS_MAX: u32 = 4_000;

pub fn run(world: &mut World) {
    let kind = if world.rng.bool() { SwitchKind::Failover } else { SwitchKind::Promote };
    world.faults.push(format!("{kind:?}"));
    let begun = Switch::begin("s".into(), kind, "switch-s".into(), NOW);
    world.flows[0].log.append(&[Record::switch(begun)]);
    world.flows[0].switched = true;
    for _ in 0..DRAIN_STEPS_MAX {
        if world.rng.u32(0..3) > 0 {
            world.step(0);
        }
        let now = world.flows[0].log.fold();
        // every turn could be another process: it finds the switch in the log
        let Some(switch) = resumable(&now, kind).cloned() else { break };
        let mut claimed = switch.epoch;
        match switch.step {
            // what could not be drained is refused, as after its time
            SwitchStep::Draining if world.rng.u32(0..40) > 0 => continue,
            SwitchStep::Claiming => {
                claimed = now.epoch().next();
                let log = &mut world.flows[0].log;
                let pen = log.take_pen();
                assert!(
                    log.append_with(pen, &[Record::claim(claimed, switch.owner.clone(), NOW)]),
                    "nobody was faster"
                );
            }
            SwitchStep::Forking => fork(world, claimed),
            _ => {}
        }
        if world.rng.u32(0..4) > 0 {
            world.flows[0].log.append(&[Record::switch(switch.advanced(claimed))]);
        }
    }
    for _ in 0..200 {
        world.step(0);
    }
    let end = world.flows[0].log.fold();
    let done = end.switches().all(|switch| switch.step == SwitchStep::Done);
    if !done || switched(&end).is_none() {
        world.broken.push("L6 the switch did not come to its end, or does not hold the flow".into());
    }
    for state in end.lanes() {
        let fork = end.fork(state.lane()).map(|fork| fork.source);
        if fork != Some(state.position()) {
            world.broken.push(format!("L6 {}: copied to {} past the fork {fork:?}", state.lane(), state.position()));
        }
    }
    if world.flows[0]
        .daemon
        .as_ref()
        .is_some_and(|daemon| !daemon.fenced && daemon.epoch > FlowEpoch(0) && !daemon.is_done())
    {
        world.faults.push("the old writer never wrote again".into());
    }
}

fn fork(world: &mut World, epoch: FlowEpoch) {
    let flow = &mut world.flows[0];
    // another process than the one that claimed takes the pen anew
    let pen = flow.log.take_pen();
    let now = flow.log.fold();
    for state in now.lanes() {
        let end = |shared: &causeway::cluster::fake::Shared, topic| {
            shared.borrow_mut().log(topic, state.lane().partition.0).map_or(0, |log| log.end)
        };
        let fork = ForkPoint {
            lane: state.lane().clone(),
            source: state.position(),
            target: TargetOffset(end(&flow.target, state.target_topic())),
            source_end: SourceOffset(end(&flow.source, state.lane().topic())),
            epoch,
            at: NOW,
        };
        assert!(flow.log.append_with(pen, &[Record::fork(fork)]), "nobody was faster");
    }
}
