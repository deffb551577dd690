//! What can be followed, and where following begins.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::cursor::{Cursor, Position};
use crate::fanout::Delivery;
use crate::fanout::follower::Usage;
use crate::fanout::source::{Place, Source};
use crate::name::{Filter, TopicName};
use crate::topic::Topic;

/// What to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// One topic.
    Topic(TopicName),
    /// All topics that match, also those that are created later.
    Filter(Filter),
}

/// Where following begins, checked and fixed.
pub struct Start {
    pub(crate) legs: SmallVec<[StartLeg; 1]>,
    /// Told to the follower before anything else.
    pub(crate) notices: Vec<Delivery>,
    /// Whether it is a group that reads on.
    pub(crate) is_group: bool,
}

pub(crate) struct StartLeg {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) place: Place,
    pub(crate) usage: Option<Usage>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}

impl Start {
    /// Follow a topic from a position that was located.
    pub(crate) fn of_topic(topic: Arc<Topic>, from: Position) -> Self {
        let unborn = topic.log().is_none();
        let place = Place { unborn, ..Place::at(from) };
        let leg = StartLeg { source: topic, place, usage: None };
        Self { legs: SmallVec::from_iter([leg]), notices: Vec::new(), is_group: false }
    }

    /// The cursor that following begins behind.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.legs.iter().map(|leg| leg.place.at))
    }
}
