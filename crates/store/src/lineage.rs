//! What forks share with their sources: whose messages a fork shows, and what of a source is kept for its forks.

use quintet_core::engine::transaction::TopicConfig;

use crate::index::OffsetMap;

/// Where a topic comes from, and whether it is still there for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The topic that it is a fork of, if it is one.
    pub(crate) source: Option<u64>,
    /// What it shows of its source ends here.
    pub(crate) through: u64,
    /// It was deleted and is only kept for its forks.
    pub(crate) hidden: bool,
}

impl Lineage {
    pub(crate) fn of(config: &TopicConfig, hidden: bool) -> Self {
        match &config.fork {
            Some(fork) => Self { source: Some(fork.source_created.0), through: fork.through.0, hidden },
            None => Self { source: None, through: 0, hidden },
        }
    }
}

/// A topic whose own messages behind `after` and up to `to` a reader is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) topic: u64,
    pub(crate) after: u64,
    pub(crate) to: u64,
}

/// The stretches that make up a topic, the oldest first.
pub(crate) fn stretches(topic: u64, lineage_of: impl Fn(u64) -> Option<Lineage>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut topic, mut to) = (topic, u64::MAX);
    while let Some(lineage) = lineage_of(topic) {
        let after = lineage.through.min(to);
        stretches.push(Stretch { topic, after, to });
        let Some(source) = lineage.source else { break };
        (topic, to) = (source, after);
    }
    stretches.reverse();
    stretches
}

/// What is kept of topics for their forks: by topic, stretches of offsets, behind the first and up to the second.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pins(OffsetMap<Vec<(u64, u64)>>);

impl Pins {
    /// Adds what a fork needs of others.
    pub(crate) fn add(&mut self, fork: u64, trimmed_through: u64, lineage_of: impl Fn(u64) -> Option<Lineage>) {
        for stretch in stretches(fork, lineage_of) {
            let from = stretch.after.max(trimmed_through);
            if stretch.topic != fork && from < stretch.to {
                self.0.entry(stretch.topic).or_default().push((from, stretch.to));
            }
        }
    }

    /// Whether forks need anything of a topic.
    pub(crate) fn concern(&self, topic: u64) -> bool {
        self.0.contains_key(&topic)
    }

    pub(crate) fn hold(&self, topic: u64, offset: u64) -> bool {
        self.0.get(&topic).is_some_and(|pins| pins.iter().any(|(after, to)| offset > *after && offset <= *to))
    }
}
