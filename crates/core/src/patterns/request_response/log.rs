//! What kept requests write to the log and find there.

use std::sync::Arc;

use crate::cursor::{LogId, Offset};
use crate::engine::transaction::{Append, Op, Transaction};
use crate::engine::{Durability, ReadRequest};
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::hub::topics::ListTopics;
use crate::message::{Message, NewMessage};
use crate::name::{Filter, TopicName};
use crate::patterns::request_response::record;
use crate::patterns::request_response::request::{RequestId, request_not_found};
use crate::topic::TopicInfo;

impl Hub {
    /// Writes a message of progress.
    pub(super) async fn append_progress(&self, topic: &TopicName, id: RequestId, message: NewMessage) -> Result<()> {
        let message = [record::progress_message(message)?];
        self.check_messages(&message)?;
        let append = Append::new(topic.clone(), message.into());
        match self.commit(self.kept_log(), Op::Append(append)).await {
            // The reply was faster.
            Err(error) if matches!(error.kind(), Kind::TopicClosed { .. } | Kind::TopicNotFound) => {
                Err(request_not_found(id))
            }
            outcome => outcome.map(drop),
        }
    }

    /// Reply topics that an earlier process left open. To be asked before anything is requested.
    pub(crate) fn orphaned_replies(&self) -> Vec<TopicName> {
        let Ok(filter) = Filter::parse("$replies/+") else { return Vec::new() };
        let list = ListTopics { filter: Some(filter), after: None, max: usize::MAX };
        self.list_topics(&list).into_iter().filter(|info| !info.closed).map(|info| info.topic).collect()
    }

    /// Ends them with a failure, so that nobody waits for what cannot come; their keys can be tried again.
    pub(crate) async fn end_replies(&self, orphans: Vec<TopicName>) {
        let error = Error::new(
            Kind::ResponderLost,
            "the hub was restarted before the reply came; it may or may not have been done. Send it again with the \
             same Idempotency-Key, if it had one",
        );
        for topic in orphans {
            if let Err(error) = self.land(&topic, record::failure_message(&error)).await {
                tracing::warn!(%topic, %error, "a reply topic of an earlier run could not be closed");
            }
        }
    }

    /// Writes how it ended, and closes the reply topic.
    pub(super) async fn land(&self, reply_topic: &TopicName, message: Result<NewMessage>) -> Result<()> {
        let append = Append { close: true, ..Append::new(reply_topic.clone(), vec![message?]) };
        self.commit_kept(vec![Op::Append(append)]).await
    }

    pub(super) async fn commit_kept(&self, ops: Vec<Op>) -> Result<()> {
        let Some(engine) = self.engine(self.kept_log()) else {
            return Err(Error::new(Kind::Internal, "the log of requests is not one of the hub's"));
        };
        engine.commit(Transaction { ops }, self.clock.now()).await.map(drop)
    }

    /// On disk, if there is a disk.
    fn kept_log(&self) -> LogId {
        self.log_of(Some(Durability::Disk)).unwrap_or_else(|_| self.engines[0].log())
    }

    /// A topic and its last message; none if it does not exist, has expired, or has none.
    pub(super) async fn last_message(&self, name: &TopicName) -> Result<Option<(TopicInfo, Arc<Message>)>> {
        let Some(info) = self.find(name).await?.and_then(|topic| topic.info()) else { return Ok(None) };
        let Some(engine) = self.engine(info.created.log) else { return Ok(None) };
        let page = engine.read(ReadRequest {
            topic: name.clone(),
            created: info.created.offset,
            after: Offset(info.next.offset.0.saturating_sub(1)),
            messages: 1,
            bytes: usize::MAX,
        });
        Ok(page.await?.messages.pop().map(|message| (info, message)))
    }
}
