//! The metadata as groups see it.

use causeway_wire::Uuid;

use crate::core::groups::consumer::Topics;
use crate::meta::MetaImage;

/// Topics of one image of the metadata.
pub(super) struct ImageTopics<'a>(pub &'a MetaImage);

impl Topics for ImageTopics<'_> {
    fn version(&self) -> u64 {
        self.0.version
    }

    fn by_name(&self, name: &str) -> Option<(Uuid, i32)> {
        self.0.topic(name).map(|t| (t.id, t.partitions.len() as i32))
    }

    fn name_of(&self, id: Uuid) -> Option<&str> {
        self.0.topic_by_id(id).map(|t| t.name.as_str())
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.topics().map(|t| t.name.as_str()))
    }
}
