//! Opening a lane: what is durable meets what both ends look like now.
use super::{After, Command, Lane, Opening, Start, State, trouble::Trouble};
use crate::core::{
    batch::{SourceEnds, TargetEnds},
    ids::{TargetOffset, TopicId, UnixMillis},
    planted::{self, Bug},
    progress::LaneState,
};

impl Lane {
    pub(super) fn opened<P>(&mut self, opening: Opening, now: UnixMillis, out: &mut Vec<Command<P>>) {
        if self.state != State::Opening {
            return;
        }
        self.ends = Some(opening.source);
        // what is on the way from before answers to an older session
        self.session = self.session.next();
        self.forget();
        let (work, changed) = match opening.durable.clone() {
            Some(state) => self.continued(state, &opening),
            None => (self.first(&opening), true),
        };
        self.read_to = work.position();
        self.durable = opening.durable.as_ref().map(LaneState::position);
        self.durable_target_to = opening.durable.as_ref().map(|state| state.map().target_to());
        self.work = Some(work);
        self.dirty = changed;
        if let Some(trouble) = self.source_trouble(opening.source_topic_id, &opening.source) {
            return self.found(trouble, now, out);
        }
        if changed {
            // a start, a voided or a new map: were it not durable first, a crash would let the next start decide anew
            self.state = State::Ledgering;
            self.after = After::GoOn;
            return self.settle(now, out);
        }
        self.go(out);
    }

    fn first(&self, opening: &Opening) -> LaneState {
        let source = opening.source;
        let position = match opening.start {
            Start::Earliest => source.log_start,
            Start::Latest => source.high_watermark,
            Start::At(offset) => offset.clamp(source.log_start, source.high_watermark.max(source.log_start)),
        };
        let target = (self.target_topic.clone(), opening.target_topic_id);
        LaneState::new(self.id.clone(), target, self.epoch, position, opening.target.log_end)
    }

    /// The durable state on today's target; `true` when that changed its meaning.
    fn continued(&mut self, mut state: LaneState, opening: &Opening) -> (LaneState, bool) {
        state.adopt(self.epoch);
        self.target_topic = state.target_topic().clone();
        let target = opening.target;
        let other = !state.target_topic_id().may_be(opening.target_topic_id);
        if other {
            // the target topic was deleted: whatever was copied is gone, so copy it again from what the source still has; what was never
            // copied and is gone there too is a gap: from the position on, so that it gets its line
            let from = opening.source.log_start.min(state.position());
            state.start_anew(opening.target_topic_id, from, target);
            return (state, true);
        }
        state.learn_target_topic_id(opening.target_topic_id);
        let before = state.position();
        let lost = target.log_end < state.map().target_to() && !planted::is(Bug::IgnoreTargetTruncation);
        if lost {
            state.void_target_from(target.log_end);
        }
        state.trim_target(target.log_start);
        let changed = lost || state.position() != before;
        (state, changed)
    }

    /// What the source's ends say about our position.
    pub(super) fn source_trouble(&self, topic_id: TopicId, ends: &SourceEnds) -> Option<Trouble> {
        if !self.id.generation.id.may_be(topic_id) && !planted::is(Bug::IgnoreTopicId) {
            return Some(Trouble::Recreated { topic_id });
        }
        if self.read_to < ends.log_start {
            return Some(Trouble::Retention { log_start: ends.log_start });
        }
        if ends.high_watermark < self.read_to {
            return Some(Trouble::Truncated { at: ends.high_watermark });
        }
        None
    }

    /// A copy landed below what is mapped: the target lost its tail (or is another topic) unseen. What lay from there on is void, durably
    /// so before copying goes on: once the log has grown back its ends tell nothing any more.
    pub(super) fn target_fell_back<P>(&mut self, at: TargetOffset, now: UnixMillis, out: &mut Vec<Command<P>>) {
        let Some(work) = self.work.as_mut() else { return };
        work.void_target_from(at);
        self.window.clear();
        (self.source_paused, self.dirty) = (true, true);
        (self.state, self.after) = (State::Ledgering, After::Reopen);
        out.push(Command::PauseSource);
        self.settle(now, out);
    }

    pub(super) fn target_seen<P>(&mut self, topic_id: TopicId, ends: TargetEnds, out: &mut Vec<Command<P>>) {
        if !self.is_copying() {
            return;
        }
        let Some(work) = self.work.as_mut() else { return };
        let other = !work.target_topic_id().may_be(topic_id);
        // compared with what was durable before the look: acks may have come in since it was taken
        let lost = self.durable_target_to.is_some_and(|to| ends.log_end < to);
        if (other || lost) && !planted::is(Bug::IgnoreTargetTruncation) {
            out.push(Command::PauseSource);
            self.reopen(out);
        } else {
            work.trim_target(ends.log_start);
        }
    }
}
