//! Publishing: append once, and everyone who reads the topic, in whatever way, sees it.
//!
//! How subscribers read is not known here; see the other patterns.

use crate::cursor::Position;
use crate::engine::transaction::{Append, Op, Outcome, ProducerStep, TopicConfig};
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::hub::topics::{not_found, refuse_reserved};
use crate::limits;
use crate::message::{ContentType, Headers, MESSAGE_ID, NewMessage};
use crate::name::TopicName;
use crate::receipts::Receipt;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where.
    pub topic: TopicName,
    /// The messages, in order; all become visible or none. May be empty if `close` is set.
    pub messages: Vec<NewMessage>,
    /// What to do if the topic does not exist.
    pub if_absent: IfAbsent,
    /// Makes it exactly-once.
    pub producer: Option<ProducerStep>,
    /// Must be greater, byte by byte, than the last one of the topic (Durable Streams section 5.2; the scope is the
    /// topic).
    pub stream_seq: Option<Box<str>>,
    /// What the publisher calls it, 1 to 128 visible ASCII characters: what comes again within the window of
    /// [`limits::Limits::message_id_window`] changes nothing. Messages bear it as their header `message-id`, unless
    /// they have one.
    pub message_id: Option<Box<str>>,
    /// Count who is there to see it.
    pub receipts: bool,
    /// Close the topic behind these messages.
    pub close: bool,
}

impl Publish {
    /// Publish these messages, creating the topic if need be.
    pub fn new(topic: TopicName, messages: Vec<NewMessage>) -> Self {
        Self {
            topic,
            messages,
            if_absent: IfAbsent::Create,
            producer: None,
            stream_seq: None,
            message_id: None,
            receipts: false,
            close: false,
        }
    }
}

/// What publishing to a topic that does not exist does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAbsent {
    /// Create it with the first message's type as its default; it takes other types too.
    Create,
    /// Refuse.
    Refuse,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The topic's tail behind it: reading behind this gives what comes next. Of a repeat that is known by its message
    /// id, the tail behind the first one.
    pub tail: Position,
    /// Whether it had been taken before and so changed nothing.
    pub duplicate: bool,
    /// Whether the topic was created by it.
    pub created: bool,
    /// Whether the topic is closed.
    pub closed: bool,
    /// The producer's epoch and highest sequence number.
    pub producer: Option<(u64, u64)>,
    /// Who was there to see it, if that was asked for and it is not a duplicate.
    pub receipt: Option<Receipt>,
}

impl Hub {
    /// Publishes. When it returns, the messages are as durable as the topic promises, and visible.
    ///
    /// Dropping the future does not take the publish back: it may or may not have happened. Publish again with the
    /// same [`ProducerStep`] or message id to find out without doing it twice.
    pub async fn publish(&self, publish: Publish) -> Result<Published> {
        refuse_reserved(&publish.topic)?;
        self.publish_any(publish).await
    }

    /// The same for the hub's own topics too.
    pub(crate) async fn publish_any(&self, mut publish: Publish) -> Result<Published> {
        self.check_messages(&publish.messages)?;
        check_producer(publish.producer.as_ref(), publish.stream_seq.as_deref())?;
        if let Some(id) = &publish.message_id {
            check_message_id(id)?;
            name_messages(id, &mut publish.messages)?;
        }
        let topic = match publish.if_absent {
            IfAbsent::Create => self.registry.get_or_reserve(&publish.topic)?,
            IfAbsent::Refuse => self.registry.get(&publish.topic).ok_or_else(|| not_found(&publish.topic))?,
        };
        self.make_way(&topic).await?;
        let create = match publish.if_absent {
            IfAbsent::Refuse => None,
            IfAbsent::Create => {
                let first = publish.messages.first().and_then(|message| message.content_type.clone());
                Some(TopicConfig::open(first.unwrap_or_else(ContentType::octet_stream)))
            }
        };
        let wanted = publish.receipts.then(|| self.registry.receipts.want(&publish.topic));
        let op = Op::Append(Append {
            topic: publish.topic,
            messages: publish.messages,
            create,
            producer: publish.producer,
            stream_seq: publish.stream_seq,
            message_id: publish.message_id,
            close: publish.close,
        });
        let (log, outcome) = match self.commit_creating(&topic, self.engines[0].log(), op).await {
            Ok(answer) => answer,
            Err(error) => return Err(with_tail(error, topic.info().map(|info| info.next))),
        };
        topic.touch(self.clock.now());
        let Outcome::Appended(appended) = outcome else {
            return Err(Error::new(Kind::Internal, "the log gave another answer than to an append"));
        };
        let tail = Position { log, offset: appended.tail };
        Ok(Published {
            tail,
            duplicate: appended.duplicate,
            created: appended.created,
            closed: appended.closed,
            producer: appended.producer,
            receipt: wanted.filter(|_| !appended.duplicate).and_then(|wanted| wanted.at(tail)),
        })
    }

    /// Refuses messages that are too many or too large.
    pub(crate) fn check_messages(&self, messages: &[NewMessage]) -> Result<()> {
        let limits = &self.limits;
        let refuse = |what: String| Err(Error::new(Kind::TooLarge, what));
        if messages.len() > limits.batch_messages {
            return refuse(format!(
                "{} messages are more than the {} that one publish takes; send them in several",
                messages.len(),
                limits.batch_messages
            ));
        }
        let mut bytes = 0_usize;
        for message in messages {
            if message.payload.len() > limits.message_bytes {
                return refuse(format!(
                    "a message of {} bytes is over the limit of {}; split it, or publish a reference to it",
                    message.payload.len(),
                    limits.message_bytes
                ));
            }
            // Each message is kept with its headers, also where a publish gives the same to all.
            bytes = bytes.saturating_add(message.payload.len() + message.headers.size());
        }
        if bytes > limits.batch_bytes {
            return refuse(format!(
                "{bytes} bytes, headers included, are more than the {} that one publish takes; send them in several",
                limits.batch_bytes
            ));
        }
        Ok(())
    }
}

fn check_producer(producer: Option<&ProducerStep>, stream_seq: Option<&str>) -> Result<()> {
    if stream_seq.is_some_and(|seq| seq.is_empty() || seq.len() > limits::STREAM_SEQ_BYTES_MAX) {
        let detail = format!("Stream-Seq has 1 to {} bytes", limits::STREAM_SEQ_BYTES_MAX);
        return Err(Error::new(Kind::BadRequest, detail));
    }
    let Some(step) = producer else { return Ok(()) };
    if step.id.is_empty() || step.id.len() > limits::PRODUCER_ID_BYTES_MAX {
        let detail = format!("a producer's id has 1 to {} bytes", limits::PRODUCER_ID_BYTES_MAX);
        return Err(Error::new(Kind::BadRequest, detail));
    }
    if step.epoch.max(step.seq) > limits::PRODUCER_NUMBER_MAX {
        return Err(Error::new(Kind::BadRequest, "a producer's epoch and sequence number are at most 2^53-1"));
    }
    Ok(())
}

fn check_message_id(id: &str) -> Result<()> {
    if !id.is_empty() && id.len() <= limits::MESSAGE_ID_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let detail = format!("a message id has 1 to {} visible ASCII characters, no spaces", limits::MESSAGE_ID_BYTES_MAX);
    Err(Error::new(Kind::BadRequest, detail))
}

/// Lets consumers see the id: of several messages, each has its number behind it, so that no two pass for one.
fn name_messages(id: &str, messages: &mut [NewMessage]) -> Result<()> {
    let several = messages.len() > 1;
    for (i, message) in messages.iter_mut().enumerate() {
        if message.headers.get(MESSAGE_ID).is_some() {
            continue;
        }
        let own = if several { format!("{id}/{i}") } else { id.to_owned() };
        message.headers = Headers::new(message.headers.iter().chain([(MESSAGE_ID, own.as_str())]))?;
    }
    Ok(())
}

/// The ledger does not know its log's id; the position is filled in here.
fn with_tail(error: Error, tail: Option<Position>) -> Error {
    match (error.kind(), tail) {
        (Kind::TopicClosed { .. }, Some(tail)) => Error::new(Kind::TopicClosed { tail }, error.to_string()),
        _ => error,
    }
}
