//! The rules of consumer groups: how one comes into being, changes and goes. What it hands out is not decided here.
//!
//! A group is kept under a topic of its own, which holds no messages.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::ledger::Ledger;
use crate::engine::ledger::state::Undo;
use crate::engine::transaction::{Delete, Outcome, PutGroup, Record, StepGroup, TopicConfig};
use crate::error::{Error, Kind, Result};
use crate::group::{GROUP_HELD_MAX, GroupConfig, GroupCounts, GroupName, GroupState, GroupStep, Held};
use crate::message::ContentType;
use crate::name::TopicName;

/// How to take back a change of a group.
#[derive(Debug)]
pub(super) enum GroupUndo {
    /// What it was set up like; none: it was no group.
    Config(Option<Arc<GroupConfig>>),
    Step {
        claimed_through: Offset,
        redriven_through: Offset,
        counts: GroupCounts,
        held: Vec<(Offset, Option<Held>)>,
    },
}

impl Ledger {
    /// A group's state and where it was created, staged changes included.
    pub fn group(&self, topic: &TopicName) -> Option<(Offset, &GroupState)> {
        let topic = self.topics.get(topic)?;
        Some((topic.created, topic.group.as_deref()?))
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = (&TopicName, Offset, &GroupState)> {
        self.groups.iter().filter_map(|topic| self.group(topic).map(|(created, state)| (topic, created, state)))
    }

    /// Retention by age and count leaves what lies behind this offset of a topic, because a group has not settled it.
    pub fn settled_through(&self, topic: &TopicName) -> Offset {
        let floors = self.groups().filter(|(_, _, group)| group.config.filter.matches(topic));
        floors.map(|(_, _, group)| group.floor()).min().unwrap_or(Offset(u64::MAX))
    }

    pub(super) fn stage_put_group(
        &mut self,
        put: PutGroup,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) -> Result<Outcome> {
        put.config.check()?;
        let topic = put.group.topic();
        let config = Arc::new(put.config);
        let Some((created, group)) = self.group(topic) else {
            let max = self.limits.groups;
            if self.groups.len() >= max {
                let detail = format!("the log holds its limit of {max} groups; delete some first");
                return Err(Error::new(Kind::TooMany, detail));
            }
            let own = TopicConfig::open(ContentType::octet_stream());
            self.create_topic(topic, own.into(), now, records)?;
            let created = self.last;
            let offset = self.next_offset();
            // Nothing behind the end of the log is skipped, whoever says so.
            let start = put.start.min(created);
            self.record(Record::Group { topic: topic.clone(), offset, config, start }, records);
            return Ok(Outcome::GroupPut { new: true, created });
        };
        if group.config.filter != config.filter {
            let detail = format!(
                "the group {} exists with the filter {}; delete it first, or choose another name",
                put.group, group.config.filter
            );
            return Err(Error::new(Kind::GroupExists, detail));
        }
        if group.config != config {
            let offset = self.next_offset();
            self.record(Record::Group { topic: topic.clone(), offset, config, start: Offset::ZERO }, records);
        }
        Ok(Outcome::GroupPut { new: false, created })
    }

    pub(super) fn stage_step_group(&mut self, change: StepGroup, records: &mut Vec<Record>) -> Result<Outcome> {
        let topic = change.group.topic();
        let found = self.group(topic).filter(|(created, _)| *created == change.created);
        let Some((_, group)) = found else { return Err(group_not_found(&change.group)) };
        let mut step = change.step;
        step.settled.retain(|offset| group.held.contains_key(offset));
        step.claimed_from = if step.claimed_through > Offset::ZERO { group.claimed_through } else { Offset::ZERO };
        if step.is_empty() {
            return Ok(Outcome::GroupStepped);
        }
        let n_new = step.held.iter().filter(|(offset, _)| !group.held.contains_key(offset)).count();
        if group.held.len() + n_new > GROUP_HELD_MAX + step.settled.len() {
            let detail = format!("a group holds at most {GROUP_HELD_MAX} messages that are not settled");
            return Err(Error::new(Kind::TooMany, detail));
        }
        let offset = self.next_offset();
        self.record(Record::GroupStep { topic: topic.clone(), offset, step: Box::new(step) }, records);
        Ok(Outcome::GroupStepped)
    }

    pub(super) fn stage_delete_group(
        &mut self,
        group: &GroupName,
        created: Option<Offset>,
        records: &mut Vec<Record>,
    ) -> Result<Outcome> {
        let found = self.group(group.topic()).filter(|(life, _)| created.is_none_or(|created| created == *life));
        if found.is_none() {
            return Err(group_not_found(group));
        }
        self.stage_delete(&Delete { topic: group.topic().clone(), created }, records)
    }

    pub(super) fn apply_group(&mut self, name: &TopicName, config: &Arc<GroupConfig>, start: Offset) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let before = match &mut topic.group {
            Some(group) => Some(std::mem::replace(&mut group.config, Arc::clone(config))),
            None => {
                topic.group = Some(Box::new(GroupState::new(Arc::clone(config), start)));
                None
            }
        };
        self.groups.insert(name.clone());
        self.journal.push(Undo::Group(name.clone(), GroupUndo::Config(before)));
    }

    pub(super) fn apply_group_step(&mut self, name: &TopicName, step: &GroupStep) {
        let Some(group) = self.topics.get_mut(name).and_then(|topic| topic.group.as_mut()) else { return };
        let (claimed_through, redriven_through) = (group.claimed_through, group.redriven_through);
        let counts = group.counts;
        let mut held = Vec::with_capacity(step.held.len() + step.settled.len());
        group.apply(step, |offset, before| held.push((offset, before)));
        let undo = GroupUndo::Step { claimed_through, redriven_through, counts, held };
        self.journal.push(Undo::Group(name.clone(), undo));
    }

    pub(super) fn undo_group(&mut self, name: &TopicName, undo: GroupUndo) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        match (undo, &mut topic.group) {
            (GroupUndo::Config(Some(before)), Some(group)) => group.config = before,
            (GroupUndo::Config(_), _) => {
                topic.group = None;
                self.groups.remove(name);
            }
            (GroupUndo::Step { claimed_through, redriven_through, counts, held }, Some(group)) => {
                (group.claimed_through, group.redriven_through) = (claimed_through, redriven_through);
                group.counts = counts;
                for (offset, before) in held.into_iter().rev() {
                    match before {
                        Some(before) => group.held.insert(offset, before),
                        None => group.held.remove(&offset),
                    };
                }
            }
            (GroupUndo::Step { .. }, None) => {}
        }
    }

    /// Keeps the list of groups right when a topic comes or goes.
    pub(super) fn note_group(&mut self, name: &TopicName) {
        if self.group(name).is_some() {
            self.groups.insert(name.clone());
        } else {
            self.groups.remove(name);
        }
    }
}

/// The error for a group that does not exist.
pub(crate) fn group_not_found(group: &GroupName) -> Error {
    Error::new(Kind::GroupNotFound, format!("there is no group {group}; create it with PUT first"))
}

/// The error for a group that was deleted while it was used.
pub(crate) fn group_deleted(group: &GroupName) -> Error {
    Error::new(Kind::GroupNotFound, format!("the group {group} was deleted; create it with PUT to go on"))
}
