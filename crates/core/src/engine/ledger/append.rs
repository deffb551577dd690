//! The rules of appending: closure, content type, producers and `Stream-Seq`, in the order that Durable Streams
//! section 5.2 recommends, with message ids behind producers.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::ledger::state::Undo;
use crate::engine::ledger::{Ledger, TopicLedger, topic_gone, topic_not_found};
use crate::engine::transaction::{Append, Appended, Outcome, ProducerStep, Record};
use crate::error::{Error, Kind, Result};
use crate::message::{Message, NewMessage};
use crate::name::TopicName;

/// What a producer's step turns out to be.
enum Step {
    New,
    Duplicate { epoch: u64, seq: u64 },
}

/// What an append that is not refused turns out to be.
enum Verdict {
    New,
    /// It was taken before.
    Duplicate(Appended),
    /// The same, by its message id: its producer's step is new, and is noted so that the producer can go on.
    Repeat(Appended, Option<ProducerStep>),
}

impl Ledger {
    pub(super) fn stage_append(
        &mut self,
        mut append: Append,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) -> Result<Outcome> {
        if append.messages.is_empty() && !append.close {
            return Err(Error::new(Kind::BadRequest, "there is nothing to append; send at least one message"));
        }
        let mut found = self.topics.get_key_value(&append.topic);
        let created = found.is_none();
        if created {
            let Some(config) = &append.create else { return Err(topic_not_found(&append.topic)) };
            self.create_topic(&append.topic, Arc::new(config.clone()), now, records)?;
            found = self.topics.get_key_value(&append.topic);
        }
        let Some((name, topic)) = found else { return Err(topic_not_found(&append.topic)) };
        // The ledger's own name is shared by all records of the topic.
        let (name, tail) = (name.clone(), topic.tail());
        let message_id: Option<Arc<str>> = append.message_id.take().map(Into::into);
        match self.check_append(&append, topic, message_id.as_ref(), now)? {
            Verdict::New => {}
            Verdict::Duplicate(duplicate) => return Ok(Outcome::Appended(duplicate)),
            Verdict::Repeat(duplicate, step) => {
                if let Some(step) = step {
                    let offset = self.next_offset();
                    self.record(Record::Producer { topic: name, offset, time: now, step }, records);
                }
                return Ok(Outcome::Appended(duplicate));
            }
        }
        let has_more = append.stream_seq.is_some() || append.producer.is_some() || message_id.is_some() || append.close;
        let messages = std::mem::take(&mut append.messages);
        if !has_more {
            let tail = self.append_to(name, messages, now, records).unwrap_or(tail);
            let appended = Appended { tail, duplicate: false, created, closed: false, producer: None };
            return Ok(Outcome::Appended(appended));
        }
        let tail = self.append_to(name.clone(), messages, now, records).unwrap_or(tail);
        let producer = append.producer.as_ref().map(|step| (step.epoch, step.seq));
        let closed = append.close;
        self.append_state(&name, append, message_id, tail, now, records);
        Ok(Outcome::Appended(Appended { tail, duplicate: false, created, closed, producer }))
    }

    /// Notes what an append says besides its messages.
    fn append_state(
        &mut self,
        name: &TopicName,
        append: Append,
        message_id: Option<Arc<str>>,
        message: Offset,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) {
        let topic = || name.clone();
        if let Some(value) = append.stream_seq {
            let offset = self.next_offset();
            self.record(Record::StreamSeq { topic: topic(), offset, value }, records);
        }
        if let Some(step) = append.producer.clone() {
            let offset = self.next_offset();
            self.record(Record::Producer { topic: topic(), offset, time: now, step }, records);
        }
        if let Some(id) = message_id {
            let offset = self.next_offset();
            self.record(Record::MessageId { topic: topic(), offset, time: now, id, message }, records);
        }
        if append.close {
            self.close_topic(name, append.producer, records);
        }
    }

    /// Refuses what may not be appended; answers what had been appended before.
    fn check_append(
        &self,
        append: &Append,
        topic: &TopicLedger,
        message_id: Option<&Arc<str>>,
        now: Timestamp,
    ) -> Result<Verdict> {
        if topic.hidden {
            return Err(topic_gone(&append.topic));
        }
        let known = message_id.and_then(|id| self.known_message_id(topic.created, id, now));
        let tail = known.unwrap_or(topic.tail());
        let duplicate = |closed, producer| Appended { tail, duplicate: true, created: false, closed, producer };
        if let Some(closed) = &topic.closed {
            return match (&append.producer, &closed.by) {
                (Some(step), Some(by)) if step == by => {
                    Ok(Verdict::Duplicate(duplicate(true, Some((by.epoch, by.seq)))))
                }
                (None, _) if append.close && append.messages.is_empty() => {
                    Ok(Verdict::Duplicate(duplicate(true, None)))
                }
                // It was taken while the topic was open, or closed it.
                _ if known.is_some() => Ok(Verdict::Duplicate(duplicate(true, None))),
                _ => Err(topic_closed(&append.topic)),
            };
        }
        if topic.config.fixed_type {
            let given = append.messages.iter().filter_map(|message| message.content_type.as_ref());
            if let Some(other) = given.into_iter().find(|given| !given.matches(&topic.config.content_type)) {
                return Err(Error::new(
                    Kind::ContentTypeMismatch,
                    format!(
                        "the topic {} takes {} only, not {}",
                        append.topic,
                        topic.config.content_type.as_str(),
                        other.as_str()
                    ),
                ));
            }
        }
        if let Some(step) = &append.producer
            && let Step::Duplicate { epoch, seq } = self.check_producer(topic, step, now)?
        {
            return Ok(Verdict::Duplicate(duplicate(false, Some((epoch, seq)))));
        }
        if known.is_some() {
            let step = append.producer.clone();
            return Ok(Verdict::Repeat(duplicate(false, step.as_ref().map(|step| (step.epoch, step.seq))), step));
        }
        if let (Some(seq), Some(last)) = (&append.stream_seq, &topic.stream_seq)
            && seq.as_bytes() <= last.as_bytes()
        {
            return Err(Error::new(
                Kind::SequenceRegression,
                format!("Stream-Seq {seq:?} is not above the topic's last one, {last:?}"),
            ));
        }
        if let Some(id) = message_id {
            self.check_message_id_room(id)?;
        }
        Ok(Verdict::New)
    }

    fn check_producer(&self, topic: &TopicLedger, step: &ProducerStep, now: Timestamp) -> Result<Step> {
        let known = topic.producers().and_then(|all| all.get(&step.id));
        let Some(known) = known.filter(|p| now.since(p.time) < self.limits.producer_idle) else {
            let n_live = topic.producers().map_or(0, |all| {
                if all.len() < self.limits.producers_per_topic {
                    return all.len();
                }
                all.values().filter(|p| now.since(p.time) < self.limits.producer_idle).count()
            });
            if n_live >= self.limits.producers_per_topic {
                return Err(Error::new(
                    Kind::TooMany,
                    format!(
                        "the topic remembers its limit of {} producers; reuse a Producer-Id",
                        self.limits.producers_per_topic
                    ),
                ));
            }
            return if step.seq == 0 { Ok(Step::New) } else { Err(producer_gap(0, step.seq)) };
        };
        if step.epoch < known.epoch {
            let detail = format!(
                "epoch {} of producer {:?} has been overtaken by {}; stop, or claim the id with a higher epoch",
                step.epoch, step.id, known.epoch
            );
            return Err(Error::new(Kind::StaleEpoch { current: known.epoch }, detail));
        }
        if step.epoch > known.epoch {
            if step.seq != 0 {
                return Err(Error::new(
                    Kind::BadProducerStart,
                    format!("a new epoch begins with Producer-Seq 0, not {}", step.seq),
                ));
            }
            return Ok(Step::New);
        }
        if step.seq <= known.seq {
            return Ok(Step::Duplicate { epoch: known.epoch, seq: known.seq });
        }
        if step.seq == known.seq + 1 { Ok(Step::New) } else { Err(producer_gap(known.seq + 1, step.seq)) }
    }

    /// Appends a topic's messages.
    pub(super) fn append_messages(
        &mut self,
        name: &TopicName,
        messages: Vec<NewMessage>,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) {
        // The ledger's own name is shared by all messages of the topic.
        let Some((name, _)) = self.topics.get_key_value(name) else { return };
        self.append_to(name.clone(), messages, now, records);
    }

    /// The same under the ledger's own name; the last one's offset. One look-up and one way back serve them all, since
    /// this is what a log does most.
    fn append_to(
        &mut self,
        name: TopicName,
        messages: Vec<NewMessage>,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) -> Option<Offset> {
        let topic = self.topics.get_mut(&name).filter(|_| !messages.is_empty())?;
        let before = topic.last;
        records.reserve(messages.len());
        for message in messages {
            self.last = self.last.next();
            let message = Message {
                topic: name.clone(),
                offset: self.last,
                previous: topic.last,
                time: now,
                content_type: message.content_type.unwrap_or_else(|| topic.config.content_type.clone()),
                headers: message.headers,
                payload: message.payload,
            };
            topic.last = message.offset;
            records.push(Record::Message(Arc::new(message)));
        }
        self.journal.push(Undo::Last(name, before));
        Some(topic.last)
    }
}

fn producer_gap(expected: u64, received: u64) -> Error {
    Error::new(
        Kind::ProducerGap { expected, received },
        format!("the producer's next sequence number is {expected}, not {received}; send what is missing first"),
    )
}

fn topic_closed(topic: &TopicName) -> Error {
    // The position is filled in by the hub, which knows the log's id.
    let tail = crate::cursor::Position::START;
    Error::new(Kind::TopicClosed { tail }, format!("the topic {topic} is closed and takes no more messages"))
}
