//! Push: read, wait, read, wait, for as long as the reader stays; by topic, or by a filter over many topics.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::cursor::{Cursor, LogId, Offset, Position, Since};
use crate::error::{Error, Kind, Result};
use crate::fanout::follower::{Follower, Leg, Usage};
use crate::fanout::mailbox::{Mailbox, mailbox};
use crate::fanout::shard::Command;
use crate::fanout::source::Place;
use crate::fanout::{Delivery, FollowerHandle, Sink};
use crate::following::{Selection, Start, StartLeg};
use crate::hub::Hub;
use crate::hub::topics::ListTopics;
use crate::name::{Filter, TopicName};
use crate::reading::Absent;

/// Topics that are looked through in one go.
const LIST_TURN_MAX: usize = 1_000;

impl Hub {
    /// Checks where a follower wants to begin. Nothing that is published after this is missed.
    pub async fn start_at(&self, selection: &Selection, since: &Since, absent: Absent) -> Result<Start> {
        match selection {
            Selection::Topic(name) => match self.locate(name, since, absent).await {
                Ok((topic, from)) => {
                    let topic = match topic {
                        Some(topic) => topic,
                        None => self.live(name).await?,
                    };
                    Ok(Start::of_topic(topic, from))
                }
                Err(error) => {
                    let Kind::Gap { first_available } = *error.kind() else { return Err(error) };
                    let mut start = Start::of_topic(self.live(name).await?, first_available);
                    start.notices.push(Delivery::Gap {
                        topic: Some(name.clone()),
                        first_available,
                        at: first_available,
                    });
                    Ok(start)
                }
            },
            Selection::Filter(filter) => self.start_filter(filter, since),
        }
    }

    fn start_filter(&self, filter: &Filter, since: &Since) -> Result<Start> {
        let mut start = Start { legs: SmallVec::new(), notices: Vec::new(), is_group: false };
        // Members are told of in one log only.
        let only = filter.members_of().and_then(|_| self.presence().log());
        for log in self.registry.logs().filter(|log| only.is_none_or(|only| only == *log)) {
            let (feed, usage) = self.registry.filter_feed(log, filter)?;
            let end = self.registry.through(log).unwrap_or_default();
            let mut known_trims = HashMap::new();
            let offset = match since {
                Since::Now => end,
                Since::Start => self.start_of_filter(filter, log, &mut known_trims),
                Since::After(cursor) if cursor.is_start() => self.start_of_filter(filter, log, &mut known_trims),
                Since::After(cursor) => match cursor.in_log(log) {
                    Some(offset) if offset > self.registry.newest(log) => {
                        return Err(Error::new(
                            Kind::BadCursor,
                            "the cursor lies beyond the end of the log; it was not given out here",
                        ));
                    }
                    Some(offset) => offset,
                    // The cursor's own log is gone (a memory log ends with its process); what is in the new one is
                    // all new to the reader, and that something is gone is said.
                    None => {
                        let first_available = Position { log, offset: Offset::ZERO };
                        start.notices.push(Delivery::Gap { topic: None, first_available, at: first_available });
                        Offset::ZERO
                    }
                },
            };
            let place = Place { at: Position { log, offset }, unborn: false, known_trims };
            start.legs.push(StartLeg { source: feed, place, usage: Some(usage) });
        }
        Ok(start)
    }

    /// Where a group reads on: in its own log only.
    pub(crate) fn start_of_group(&self, filter: &Filter, from: Position) -> Result<Start> {
        let (feed, usage) = self.registry.filter_feed(from.log, filter)?;
        let mut known_trims = HashMap::new();
        if from.offset == Offset::ZERO {
            self.start_of_filter(filter, from.log, &mut known_trims);
        }
        let place = Place { at: from, unborn: false, known_trims };
        let leg = StartLeg { source: feed, place, usage: Some(usage) };
        Ok(Start { legs: SmallVec::from_iter([leg]), notices: Vec::new(), is_group: true })
    }

    /// The start of a filter: trims that have happened before are no loss to a reader that begins now.
    fn start_of_filter(&self, filter: &Filter, log: LogId, known_trims: &mut HashMap<TopicName, Offset>) -> Offset {
        let mut after = None;
        loop {
            // Some at a time, for no topic can come into being while they are looked through.
            let topics = self.list_topics(&ListTopics { filter: Some(filter.clone()), after, max: LIST_TURN_MAX });
            let Some(last) = topics.last() else { return Offset::ZERO };
            after = Some(last.topic.clone());
            for info in topics.into_iter().filter(|info| info.created.log == log && info.first > info.created) {
                known_trims.insert(info.topic, info.first.offset);
            }
        }
    }

    /// Follows: the sink gets everything behind the start, in order, until the handle is dropped or the end is
    /// delivered.
    pub fn follow(&self, start: Start, mut sink: Box<dyn Sink>) -> Result<FollowerHandle> {
        let per_topic = self.limits.followers_per_topic;
        // A filter's feed is no topic, and has room for all that the hub has room for.
        if start.legs.iter().any(|leg| leg.usage.is_none() && leg.source.interest().n_followers() >= per_topic) {
            let detail = format!("the topic has its limit of {per_topic} waiting readers; try again later");
            return Err(Error::new(Kind::TooMany, detail));
        }
        let usage = Usage::within(&self.n_followers, self.limits.followers, "waiting readers")?;
        for notice in &start.notices {
            // A fresh sink takes its first deliveries; one that holds a single one gets the gap again by its cursor.
            let _taken = sink.deliver(notice);
        }
        let shards = &self.registry.shards;
        let id = shards.next_id();
        let legs = start.legs.into_iter().map(|leg| Leg {
            source: leg.source,
            place: leg.place,
            slot: 0,
            reading: false,
            _usage: leg.usage,
        });
        let is_group = start.is_group;
        let follower =
            Follower { id, sink, legs: legs.collect(), is_group, blocked: false, turn: 0, owed: None, _usage: usage };
        shards.command(id, Command::Add(Box::new(follower)));
        Ok(FollowerHandle { shards: Arc::clone(shards), id })
    }

    /// Follows in-process: an async stream of deliveries.
    pub async fn subscribe(&self, selection: &Selection, since: &Since) -> Result<Subscription> {
        let start = self.start_at(selection, since, Absent::Empty).await?;
        let cursor = start.cursor();
        let (letterbox, mut mailbox) = mailbox();
        mailbox.attach(self.follow(start, Box::new(letterbox))?);
        Ok(Subscription { mailbox, cursor })
    }
}

/// A follower in the same process. It takes one delivery at a time; while it does not ask, its cursor lags and
/// nothing is queued.
#[derive(Debug)]
pub struct Subscription {
    mailbox: Mailbox,
    cursor: Cursor,
}

impl Subscription {
    /// The cursor behind what was taken last.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next delivery; none behind the last. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same for those who poll.
    pub fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let delivery = std::task::ready!(self.mailbox.poll_take(cx));
        match &delivery {
            Some(Delivery::Messages { batch, .. }) => self.cursor.advance(batch.next()),
            Some(Delivery::Closed { at, .. } | Delivery::Deleted { at, .. } | Delivery::Gap { at, .. }) => {
                self.cursor.advance(*at)
            }
            Some(Delivery::Failed(_)) | None => {}
        }
        Poll::Ready(delivery)
    }
}
