//! What consumer groups have settled, as far as retention has to know: messages that a group still needs are not
//! trimmed by age or count.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quintet_core::group::{GroupConfig, GroupState};
use quintet_core::name::TopicName;

/// For each group, its filter and where everything is settled.
#[derive(Debug, Default)]
pub(crate) struct Settled(Mutex<HashMap<TopicName, (Arc<GroupConfig>, u64)>>);

impl Settled {
    /// Notes how far a group has come, or that it is gone.
    pub(crate) fn note(&self, name: &TopicName, group: Option<&GroupState>) {
        let mut all = self.0.lock();
        match group {
            Some(group) => all.insert(name.clone(), (Arc::clone(&group.config), group.floor().0)),
            None => all.remove(name),
        };
    }

    /// Every group that gets a topic's messages has settled them up to here.
    pub(crate) fn through(&self, topic: &TopicName) -> u64 {
        let all = self.0.lock();
        let floors = all.values().filter(|(config, _)| config.filter.matches(topic));
        floors.map(|(_, floor)| *floor).min().unwrap_or(u64::MAX)
    }
}
