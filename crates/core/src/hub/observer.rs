//! What an engine tells, told on: topics to the registry, groups to their directory.

use std::sync::Arc;

use crate::cursor::{LogId, Offset};
use crate::engine::transaction::{Record, TopicState};
use crate::engine::{Observer, Trimmed};
use crate::group::GroupState;
use crate::name::TopicName;
use crate::patterns::publish_subscribe::groups::Directory;
use crate::registry::{LogObserver, Registry};

/// Observes one engine.
pub(super) struct HubObserver {
    topics: LogObserver,
    groups: Arc<Directory>,
}

impl HubObserver {
    pub(super) fn new(registry: &Arc<Registry>, groups: &Arc<Directory>, log: LogId) -> Self {
        let counted = Arc::clone(groups);
        let n_groups = Box::new(move |topic: &TopicName| counted.n_matching(topic, log));
        Self { topics: LogObserver { registry: Arc::clone(registry), log, n_groups }, groups: Arc::clone(groups) }
    }

    /// Tells of groups that come, change and go. A new one's topic is created just before.
    fn show_groups(&self, records: &[Record]) {
        let mut new: Option<(&TopicName, Offset)> = None;
        for record in records.iter().filter(|record| record.topic().is_reserved()) {
            match record {
                Record::Created { topic, offset, .. } => new = Some((topic, *offset)),
                Record::Group { topic, config, start, .. } => {
                    let created = new.take().filter(|(name, _)| *name == topic).map(|(_, created)| created);
                    self.groups.configure(topic, self.topics.log, created, config, *start);
                }
                Record::Deleted { topic, .. } => self.groups.end(topic, self.topics.log),
                _ => {}
            }
        }
    }
}

impl Observer for HubObserver {
    fn restored(&self, topic: &TopicName, state: &TopicState) {
        self.topics.restored(topic, state);
    }

    fn group_restored(&self, topic: &TopicName, created: Offset, state: &GroupState) {
        self.groups.begin(topic, self.topics.log, created, state.clone());
    }

    fn committed(&self, records: &[Record], through: Offset) {
        self.topics.committed(records, through);
        self.show_groups(records);
    }

    fn trimmed(&self, topic: &TopicName, trimmed: Trimmed) {
        self.topics.trimmed(topic, trimmed);
    }
}
