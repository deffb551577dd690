//! A shard's loop: take what has come, walk the followers of what is new, let others run.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::cursor::{LogId, Offset, Position};
use crate::engine::transaction::Record;
use crate::engine::{ReadPage, ScanPage};
use crate::error::{Error, Kind, Result};
use crate::fanout::follower::Follower;
use crate::fanout::shard::{Command, Engines, Loaded, Shards};
use crate::fanout::source::{History, Source, Step};
use crate::fanout::{Delivery, Taken};
use crate::limits::{SHARD_TURN_DELIVERIES_MAX, SHARD_TURN_MAX};
use crate::message::Message;
use crate::name::TopicName;

/// Serves a shard's followers for as long as it is polled. Once the hub is stopping, it ends each one that still comes.
pub(crate) async fn run(shards: Arc<Shards>, shard: usize, engines: Engines) {
    let mut state = State::new(shards, shard, engines);
    loop {
        let inbox = state.shards.take_inbox(state.shard);
        state.commands.extend(inbox.commands);
        let idle = state.commands.is_empty() && inbox.dirty.is_empty() && state.queue.is_empty();
        if idle {
            state.shards.wait(state.shard).await;
            continue;
        }
        for source in inbox.dirty {
            source.interest().seen(state.shard);
            state.enqueue(source.id());
        }
        let (commanded, walked) = (state.obey_some(), state.turn());
        if commanded || walked {
            tokio::task::yield_now().await;
        }
    }
}

/// A source that some follower of this shard follows.
struct Followed {
    source: Arc<dyn Source>,
    /// Keys of followers, and which of their legs it is.
    followers: Vec<(usize, usize)>,
    /// It waits for its walk, or is being walked.
    queued: bool,
    /// Something changed during the walk: walk once more.
    again: bool,
}

struct State {
    shards: Arc<Shards>,
    shard: usize,
    engines: Engines,
    followers: Slab<Follower>,
    /// Where a follower's id is found; a follower that has ended is not here any more.
    keys: HashMap<u64, usize>,
    sources: HashMap<u64, Followed>,
    /// What there was no time for yet.
    commands: VecDeque<Command>,
    /// Walks to be done: a source and how far its walk has come.
    queue: VecDeque<(u64, usize)>,
    n_deliveries: usize,
    stopped: bool,
}

/// What became of a follower that was served.
#[derive(PartialEq, Eq)]
enum Served {
    Alive,
    Ended,
}

impl State {
    fn new(shards: Arc<Shards>, shard: usize, engines: Engines) -> Self {
        Self {
            shards,
            shard,
            engines,
            followers: Slab::new(),
            keys: HashMap::new(),
            sources: HashMap::new(),
            commands: VecDeque::new(),
            queue: VecDeque::new(),
            n_deliveries: 0,
            stopped: false,
        }
    }

    /// Obeys for a bounded while, so that a rush of readers does not hold up what is published; tells whether there is
    /// more to do.
    fn obey_some(&mut self) -> bool {
        let end = Instant::now() + SHARD_TURN_MAX;
        self.n_deliveries = 0;
        let mut n_obeyed = 0_usize;
        while let Some(command) = self.commands.pop_front() {
            self.obey(command);
            n_obeyed += 1;
            let over =
                self.n_deliveries >= SHARD_TURN_DELIVERIES_MAX || n_obeyed.is_multiple_of(32) && Instant::now() >= end;
            if over {
                return !self.commands.is_empty();
            }
        }
        // A rush is rare, and its room is not kept for the next one.
        self.commands = VecDeque::new();
        false
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(follower) => self.add(*follower),
            Command::Remove { id } => {
                if let Some(key) = self.keys.get(&id).copied() {
                    self.remove(key);
                }
            }
            Command::Ready { id } => {
                if let Some(key) = self.keys.get(&id).copied() {
                    if let Some(follower) = self.followers.get_mut(key) {
                        follower.blocked = false;
                    }
                    self.serve(key);
                }
            }
            Command::Loaded { id, leg, loaded } => {
                if let Some(key) = self.keys.get(&id).copied() {
                    self.loaded(key, leg, loaded);
                }
            }
            Command::Stop => self.stop(),
        }
    }

    fn add(&mut self, mut follower: Follower) {
        if self.stopped {
            follower.sink.deliver(&Delivery::Failed(stopping()));
            return;
        }
        let key = self.followers.vacant_key();
        for (i, leg) in follower.legs.iter_mut().enumerate() {
            leg.source.interest().join(self.shard, follower.is_group);
            let followed = self.sources.entry(leg.source.id()).or_insert_with(|| Followed {
                source: Arc::clone(&leg.source),
                followers: Vec::new(),
                queued: false,
                again: false,
            });
            leg.slot = followed.followers.len();
            followed.followers.push((key, i));
        }
        self.keys.insert(follower.id, key);
        self.followers.insert(follower);
        self.serve(key);
    }

    fn remove(&mut self, key: usize) {
        let Some(follower) = self.followers.try_remove(key) else { return };
        self.keys.remove(&follower.id);
        for leg in &follower.legs {
            let id = leg.source.id();
            let Some(followed) = self.sources.get_mut(&id) else { continue };
            followed.followers.swap_remove(leg.slot);
            // Whoever stood last now stands here, where a walk may have been already.
            followed.again |= followed.queued;
            let moved = followed.followers.get(leg.slot).copied();
            let last = followed.followers.is_empty();
            if let Some((key, i)) = moved
                && let Some(leg_moved) = self.followers.get_mut(key).and_then(|f| f.legs.get_mut(i))
            {
                leg_moved.slot = leg.slot;
            }
            leg.source.interest().leave(self.shard, follower.is_group, last);
            if last {
                self.sources.remove(&id);
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        let keys: Vec<usize> = self.followers.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(follower) = self.followers.get_mut(key) {
                follower.sink.deliver(&Delivery::Failed(stopping()));
            }
            self.remove(key);
        }
    }

    fn enqueue(&mut self, source: u64) {
        let Some(followed) = self.sources.get_mut(&source) else { return };
        if followed.queued {
            followed.again = true;
        } else {
            followed.queued = true;
            self.queue.push_back((source, 0));
        }
    }

    /// Walks for a bounded while; tells whether there is more to do.
    fn turn(&mut self) -> bool {
        let end = Instant::now() + SHARD_TURN_MAX;
        self.n_deliveries = 0;
        let mut n_looked = 0_usize;
        while let Some((source, mut i)) = self.queue.pop_front() {
            while let Some((key, leg)) = self.follower_at(source, i) {
                n_looked += 1;
                let over = self.n_deliveries >= SHARD_TURN_DELIVERIES_MAX
                    || n_looked.is_multiple_of(32) && Instant::now() >= end;
                if over {
                    // To the back of the queue, so that every source gets its turn.
                    self.queue.push_back((source, i));
                    return true;
                }
                // A follower that ends makes room for another one at the same index.
                if self.serve_leg(key, leg) == Served::Alive {
                    i += 1;
                }
            }
            self.end_walk(source);
        }
        false
    }

    fn follower_at(&self, source: u64, i: usize) -> Option<(usize, usize)> {
        self.sources.get(&source).and_then(|followed| followed.followers.get(i)).copied()
    }

    fn end_walk(&mut self, source: u64) {
        let Some(followed) = self.sources.get_mut(&source) else { return };
        followed.queued = false;
        followed.source.rest();
        if std::mem::take(&mut followed.again) {
            self.enqueue(source);
        }
    }

    fn serve(&mut self, key: usize) {
        let Some(follower) = self.followers.get(key) else { return };
        let (first, n_legs) = (follower.turn, follower.legs.len());
        for i in 0..n_legs {
            if self.serve_leg(key, (first + i) % n_legs) == Served::Ended {
                return;
            }
        }
    }

    /// Delivers to one leg until there is nothing new, the sink is full, or history has to be read.
    fn serve_leg(&mut self, key: usize, leg: usize) -> Served {
        loop {
            let Some(follower) = self.followers.get_mut(key) else { return Served::Ended };
            let Some(place) = follower.legs.get_mut(leg) else { return Served::Alive };
            if follower.blocked || place.reading || follower.owed.is_some_and(|owed| owed != leg) {
                return Served::Alive;
            }
            match place.source.step(&mut place.place) {
                Step::CaughtUp if follower.owed.take().is_some() => {
                    self.serve(key);
                    return self.served(key);
                }
                Step::CaughtUp => return Served::Alive,
                Step::Deliver { delivery, next } => {
                    self.n_deliveries += 1;
                    if self.offer(key, leg, &delivery, next) != Taken::Yes {
                        return self.served(key);
                    }
                }
                Step::End(delivery) => return self.end(key, &delivery),
                Step::Behind(history) => {
                    place.reading = true;
                    let id = follower.id;
                    self.load(id, leg, history);
                    return Served::Alive;
                }
            }
        }
    }

    fn served(&self, key: usize) -> Served {
        if self.followers.contains(key) { Served::Alive } else { Served::Ended }
    }

    /// The last delivery. A sink that cannot take it now gets it when it is ready.
    fn end(&mut self, key: usize, delivery: &Delivery) -> Served {
        let Some(follower) = self.followers.get_mut(key) else { return Served::Ended };
        if follower.sink.deliver(delivery) == Taken::No {
            follower.blocked = true;
            return Served::Alive;
        }
        self.remove(key);
        Served::Ended
    }

    /// Offers a delivery; tells what the sink did with it. A follower that has ended by it is gone.
    fn offer(&mut self, key: usize, leg: usize, delivery: &Delivery, next: Position) -> Taken {
        let Some(follower) = self.followers.get_mut(key) else { return Taken::Gone };
        let taken = follower.sink.deliver(delivery);
        let n_legs = follower.legs.len();
        if matches!(taken, Taken::Yes | Taken::YesAndFull)
            && let Some(place) = follower.legs.get_mut(leg)
        {
            place.place.at = next;
            follower.turn = (leg + 1) % n_legs;
            follower.owed = None;
        }
        follower.blocked = matches!(taken, Taken::YesAndFull | Taken::No);
        if taken == Taken::Gone || matches!(delivery, Delivery::Messages { closed: true, .. } if taken != Taken::No) {
            self.remove(key);
            return Taken::Gone;
        }
        taken
    }

    /// Reads history in a task of its own, so that the shard does not wait for a disk.
    fn load(&self, id: u64, leg: usize, history: History) {
        let log = match &history {
            History::Topic { log, .. } | History::Filter { log, .. } => *log,
        };
        let engine = self.engines.iter().find(|engine| engine.log() == log).cloned();
        let shards = Arc::clone(&self.shards);
        tokio::spawn(async move {
            let _permit = shards.history_reads.acquire().await;
            let loaded = match (engine, history) {
                (Some(engine), History::Topic { request, until, .. }) => {
                    let topic = request.topic.clone();
                    engine.read(request).await.map(|page| Loaded::Topic(page, topic, until))
                }
                (Some(engine), History::Filter { request, .. }) => engine.scan(request).await.map(Loaded::Filter),
                (None, _) => Err(Error::new(Kind::StaleCursor, "the log of this cursor is gone; start again")),
            };
            shards.command(id, Command::Loaded { id, leg, loaded });
        });
    }

    fn loaded(&mut self, key: usize, leg: usize, loaded: Result<Loaded>) {
        let Some(follower) = self.followers.get_mut(key) else { return };
        let Some(place) = follower.legs.get_mut(leg) else { return };
        place.reading = false;
        let log = place.place.at.log;
        let deliveries = match loaded {
            // There is nothing, as of a fork that inherits nothing; what may have come since is in memory.
            Ok(Loaded::Topic(page, _, until))
                if page.messages.is_empty() && page.trimmed_through <= place.place.at.offset =>
            {
                vec![(None, Position { log, offset: until })]
            }
            Ok(Loaded::Topic(page, topic, _)) => topic_deliveries(page, topic, place.place.at),
            Ok(Loaded::Filter(page)) => {
                let gaps = unknown_gaps(&page, log, &place.place.known_trims);
                filter_deliveries(page, place.place.at, gaps)
            }
            Err(error) => {
                self.end(key, &Delivery::Failed(error));
                return;
            }
        };
        for (delivery, next) in deliveries {
            self.n_deliveries += 1;
            let taken = delivery.as_ref().map_or(Taken::Yes, |delivery| self.offer(key, leg, delivery, next));
            let Some(follower) = self.followers.get_mut(key) else { return };
            let Some(place) = follower.legs.get_mut(leg) else { return };
            match delivery {
                _ if taken == Taken::No => follower.owed = Some(leg),
                // Only a filter is told of a gap that it has not passed by that.
                Some(Delivery::Gap { topic: Some(topic), first_available, at }) if at != first_available => {
                    place.place.knows(topic, first_available)
                }
                Some(_) => {}
                None => place.place.at = next,
            }
            if taken != Taken::Yes {
                return;
            }
        }
        if let Some(follower) = self.followers.get_mut(key) {
            follower.owed = None;
        }
        self.serve(key);
    }
}

type Deliveries = Vec<(Option<Delivery>, Position)>;

fn topic_deliveries(page: ReadPage, topic: TopicName, at: Position) -> Deliveries {
    let mut deliveries = Deliveries::new();
    if page.trimmed_through > at.offset {
        let first_available = Position { offset: page.trimmed_through, ..at };
        let gap = Delivery::Gap { topic: Some(topic), first_available, at: first_available };
        deliveries.push((Some(gap), first_available));
    }
    if let Some(last) = page.messages.last() {
        let next = Position { offset: last.offset, ..at };
        let batch = Arc::new(Batch::new(page.messages, next));
        // Whether the topic is closed or has more is found out by the next step, which reads from memory.
        deliveries.push((Some(Delivery::Messages { batch, up_to_date: false, closed: false }), next));
    }
    deliveries
}

/// Gaps the reader has not been told of.
fn unknown_gaps(page: &ScanPage, log: LogId, known: &HashMap<TopicName, Offset>) -> Vec<(TopicName, Position)> {
    let unknown = page.gaps.iter().filter(|(topic, through)| known.get(topic).is_none_or(|known| known < through));
    unknown.map(|(topic, through)| (topic.clone(), Position { log, offset: *through })).collect()
}

fn filter_deliveries(page: ScanPage, from: Position, gaps: Vec<(TopicName, Position)>) -> Deliveries {
    let log = from.log;
    let through = Position { log, offset: page.through };
    let start = page
        .records
        .first()
        .map_or(through, |record| Position { log, offset: Offset(record.offset().0.saturating_sub(1)) });
    // Only behind the last gap has the reader been told of all; one that comes back before that is told again.
    let n_gaps = gaps.len();
    let gap = |(i, (topic, first_available))| {
        let at = if i + 1 == n_gaps { start } else { from };
        (Some(Delivery::Gap { topic: Some(topic), first_available, at }), at)
    };
    let mut deliveries: Deliveries = gaps.into_iter().enumerate().map(gap).collect();
    let mut run = Vec::new();
    let flush = |run: &mut Vec<_>, deliveries: &mut Deliveries| {
        let messages: Vec<Arc<Message>> = std::mem::take(run);
        let Some(last) = messages.last() else { return };
        let next = Position { log, offset: last.offset };
        let batch = Arc::new(Batch::new(messages, next));
        deliveries.push((Some(Delivery::Messages { batch, up_to_date: false, closed: false }), next));
    };
    for record in page.records {
        let at = Position { log, offset: record.offset() };
        match record {
            Record::Message(message) => run.push(message),
            Record::Closed { topic, .. } => {
                flush(&mut run, &mut deliveries);
                deliveries.push((Some(Delivery::Closed { topic, at }), at));
            }
            Record::Deleted { topic, .. } | Record::Hidden { topic, .. } => {
                flush(&mut run, &mut deliveries);
                deliveries.push((Some(Delivery::Deleted { topic, at }), at));
            }
            Record::Created { .. }
            | Record::Producer { .. }
            | Record::StreamSeq { .. }
            | Record::MessageId { .. }
            | Record::Group { .. }
            | Record::GroupStep { .. } => {}
        }
    }
    flush(&mut run, &mut deliveries);
    deliveries.push((None, through));
    deliveries
}

fn stopping() -> Error {
    Error::new(Kind::ShuttingDown, "the hub is stopping; reconnect with your cursor")
}
