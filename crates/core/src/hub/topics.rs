//! Topics as a whole: create, describe, list, close, delete, expire.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::{LogId, Offset, Position};
use crate::engine::Durability;
use crate::engine::transaction::{Append, Create, Delete, Op, Outcome, TopicConfig};
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::message::{ContentType, NewMessage};
use crate::name::{Filter, TopicName};
use crate::topic::{Topic, TopicInfo};

/// Topics that are looked at for expiry before others get their turn.
const EXPIRY_TURN_MAX: usize = 1_000;

/// How a topic is to be created.
#[derive(Debug, Clone)]
pub struct CreateTopic {
    /// Its name.
    pub topic: TopicName,
    /// How it is set up.
    pub config: TopicConfig,
    /// What an acknowledgement is worth; none means the hub's default.
    pub durability: Option<Durability>,
    /// Its first messages.
    pub messages: Vec<NewMessage>,
    /// Whether it is complete with them.
    pub closed: bool,
    /// What it begins with, if it is a fork. A fork's content type and expiry are its source's unless they are given:
    /// see [`ForkOf`].
    pub fork: Option<ForkOf>,
}

/// Which topic a new one is a fork of, and from where on they differ.
#[derive(Debug, Clone)]
pub struct ForkOf {
    /// The source.
    pub source: TopicName,
    /// The last position that is inherited; none means the source's tail. A start inherits nothing.
    pub at: Option<Position>,
    /// How much behind that position is inherited too: messages of a JSON topic, bytes of any other (Durable Streams
    /// section 4.2).
    pub sub_offset: u64,
    /// The type that was asked for, to be the source's.
    pub content_type: Option<ContentType>,
}

/// Which topics to list.
#[derive(Debug, Clone, Default)]
pub struct ListTopics {
    /// Only those that match; none means all but the hub's own.
    pub filter: Option<Filter>,
    /// Only those behind this name.
    pub after: Option<TopicName>,
    /// At most so many.
    pub max: usize,
}

impl Hub {
    /// Creates a topic, or confirms that it exists as asked; tells which, and where it ends.
    ///
    /// Dropping the future does not take the creation back.
    pub async fn create_topic(&self, create: CreateTopic) -> Result<(bool, TopicInfo)> {
        refuse_reserved(&create.topic)?;
        if let Some(fork) = &create.fork {
            // A fork could be read where its source must not be.
            refuse_reserved(&fork.source)?;
        }
        self.create_any(create).await
    }

    /// The same for the hub's own topics too.
    pub(crate) async fn create_any(&self, create: CreateTopic) -> Result<(bool, TopicInfo)> {
        self.check_messages(&create.messages)?;
        let topic = self.live(&create.topic).await?;
        let create = match create.fork.clone() {
            Some(fork) => self.resolve_fork(create, &fork).await?,
            None => create,
        };
        let wished = self.log_of(create.durability)?;
        let op = Op::Create(Create {
            topic: create.topic,
            config: create.config,
            messages: create.messages,
            closed: create.closed,
        });
        let (log, outcome) = self.commit_creating(&topic, wished, op).await?;
        let Outcome::Created { new, .. } = outcome else {
            return Err(Error::new(Kind::Internal, "the log gave another answer than to a creation"));
        };
        if create.durability.is_some() && log != wished {
            return Err(Error::new(
                Kind::TopicExists,
                format!("the topic {} exists with another durability; use it as it is, or delete it first", topic.name),
            ));
        }
        // It may have been deleted again in between; then it is told as that.
        let info = topic.info().ok_or_else(|| not_found(&topic.name))?;
        Ok((new, info))
    }

    /// What can be told of a topic. It does not count as a use.
    pub async fn describe(&self, name: &TopicName) -> Result<TopicInfo> {
        let topic = self.registry.get(name).ok_or_else(|| not_found(name))?;
        topic.check_not_hidden()?;
        if let Some((log, created)) = topic.expired(self.clock.now(), false) {
            // Who looks before they publish is not to be overtaken by who publishes next, and so does not wait here.
            self.ask_to_delete(&topic, log, created);
            return Err(not_found(name));
        }
        topic.info().ok_or_else(|| not_found(name))
    }

    /// Topics in the order of their names.
    pub fn list_topics(&self, list: &ListTopics) -> Vec<TopicInfo> {
        let now = self.clock.now();
        let alive = |topic: &Topic| topic.expired(now, false).is_none();
        let topics = self.registry.list(list.filter.as_ref(), list.after.as_ref(), list.max, alive);
        topics.iter().filter_map(|topic| topic.info()).collect()
    }

    /// Closes a topic; closing a closed one does no harm. Tells where it ends.
    pub async fn close_topic(&self, name: &TopicName) -> Result<Position> {
        refuse_reserved(name)?;
        let topic = self.find(name).await?;
        let log = topic.and_then(|topic| topic.log()).ok_or_else(|| not_found(name))?;
        let append = Append { close: true, ..Append::new(name.clone(), Vec::new()) };
        match self.commit(log, Op::Append(append)).await? {
            Outcome::Appended(appended) => Ok(Position { log, offset: appended.tail }),
            Outcome::Created { .. } | Outcome::Deleted { .. } | Outcome::GroupPut { .. } | Outcome::GroupStepped => {
                Err(Error::new(Kind::Internal, "the log gave another answer than to a closure"))
            }
        }
    }

    /// Deletes a topic with all its messages. Its readers are told.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        refuse_reserved(name)?;
        let topic = self.find(name).await?;
        let log = topic.and_then(|topic| topic.log()).ok_or_else(|| not_found(name))?;
        self.commit(log, Op::Delete(Delete { topic: name.clone(), created: None })).await?;
        Ok(())
    }

    /// A topic, or the place that is kept for it, after it was removed if it has expired.
    pub(crate) async fn find(&self, name: &TopicName) -> Result<Option<Arc<Topic>>> {
        let Some(topic) = self.registry.get(name) else { return Ok(None) };
        self.expire(&topic, self.clock.now()).await?;
        Ok(Some(topic))
    }

    /// The same, with a place made if there is none.
    pub(crate) async fn live(&self, name: &TopicName) -> Result<Arc<Topic>> {
        let topic = self.registry.get_or_reserve(name)?;
        self.expire(&topic, self.clock.now()).await?;
        Ok(topic)
    }

    /// Commits what may create a topic, in the log that it is in or is being created in.
    pub(crate) async fn commit_creating(&self, topic: &Arc<Topic>, wished: LogId, op: Op) -> Result<(LogId, Outcome)> {
        let (log, _creating) = self.creating(topic, wished);
        Ok((log, self.commit(log, op).await?))
    }

    /// The log that a topic is in, or is to be created in, for as long as what comes with it is held.
    pub(crate) fn creating(&self, topic: &Arc<Topic>, wished: LogId) -> (LogId, Creating) {
        let log = topic.begin_create(wished);
        (log, Creating(Arc::clone(topic)))
    }

    /// The log of a durability.
    pub(crate) fn log_of(&self, durability: Option<Durability>) -> Result<LogId> {
        let Some(durability) = durability else { return Ok(self.engines[0].log()) };
        let engine = self.engines.iter().find(|engine| engine.durability() == durability);
        engine.map(|engine| engine.log()).ok_or_else(|| {
            let name = durability.name();
            Error::new(Kind::BadRequest, format!("this hub has no {name} log; leave the durability out"))
        })
    }

    pub(crate) async fn expire_topics(&self, now: Timestamp) {
        let mut after = None;
        loop {
            let topics = self.registry.expiring(after.as_ref(), EXPIRY_TURN_MAX);
            let Some(last) = topics.last() else { return };
            after = Some(last.name.clone());
            for topic in &topics {
                if let Err(error) = self.expire(topic, now).await {
                    tracing::warn!(topic = %topic.name, %error, "an expired topic could not be deleted; it will be tried again");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Deletes a topic that is over before something is written to it. The deletion is only asked for, if it goes to
    /// the log that what is written goes to: who waited for it could be overtaken by what is published next.
    pub(crate) async fn make_way(&self, topic: &Topic) -> Result<()> {
        let Some((log, created)) = topic.expired(self.clock.now(), true) else { return Ok(()) };
        if log != self.engines[0].log() {
            return self.delete_life(topic, log, created).await;
        }
        self.ask_to_delete(topic, log, created);
        Ok(())
    }

    /// Has a life of a topic deleted. If that fails, so does what comes behind it in the log, or it is tried again.
    fn ask_to_delete(&self, topic: &Topic, log: LogId, created: Offset) {
        if let Some(engine) = self.engine(log) {
            let delete = Delete { topic: topic.name.clone(), created: Some(created) };
            // It goes its way without being waited for.
            drop(engine.commit(Op::Delete(delete).into(), self.clock.now()));
        }
    }

    async fn expire(&self, topic: &Topic, now: Timestamp) -> Result<()> {
        let Some((log, created)) = topic.expired(now, false) else { return Ok(()) };
        self.delete_life(topic, log, created).await
    }

    async fn delete_life(&self, topic: &Topic, log: LogId, created: Offset) -> Result<()> {
        let delete = Delete { topic: topic.name.clone(), created: Some(created) };
        match self.commit(log, Op::Delete(delete)).await {
            // Somebody else was faster.
            Err(error) if *error.kind() == Kind::TopicNotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Gives the right to create back, also when the future that holds it is dropped.
pub(crate) struct Creating(Arc<Topic>);

impl Drop for Creating {
    fn drop(&mut self) {
        self.0.end_create();
    }
}

pub(crate) fn refuse_reserved(name: &TopicName) -> Result<()> {
    if name.is_reserved() {
        return Err(Error::new(Kind::Forbidden, "names that begin with $ are the hub's own; choose another name"));
    }
    Ok(())
}

pub(crate) fn not_found(name: &TopicName) -> Error {
    Error::new(Kind::TopicNotFound, format!("there is no topic {name}; create it with PUT or by publishing to it"))
}
