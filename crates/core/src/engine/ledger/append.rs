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
        let created = !self.topics.contains_key(&append.topic);
        if created {
            let Some(config) = &append.create else { return Err(topic_not_found(&append.topic)) };
            self.create_topic(&append.topic, Arc::new(config.clone()), now, records)?;
        }
        let message_id: Option<Arc<str>> = append.message_id.take().map(Into::into);
        match self.check_append(&append, message_id.as_ref(), now)? {
            Verdict::New => {}
            Verdict::Duplicate(duplicate) => return Ok(Outcome::Appended(duplicate)),
            Verdict::Repeat(duplicate, step) => {
                if let Some(step) = step {
                    let offset = self.next_offset();
                    self.record(Record::Producer { topic: append.topic, offset, time: now, step }, records);
                }
                return Ok(Outcome::Appended(duplicate));
            }
        }
        self.append_messages(&append.topic, append.messages, now, records);
        let topic = &append.topic;
        if let Some(value) = append.stream_seq {
            let offset = self.next_offset();
            self.record(Record::StreamSeq { topic: topic.clone(), offset, value }, records);
        }
        if let Some(step) = append.producer.clone() {
            let offset = self.next_offset();
            self.record(Record::Producer { topic: topic.clone(), offset, time: now, step }, records);
        }
        if let Some(id) = message_id {
            let message = self.topics.get(topic).map_or(Offset::ZERO, TopicLedger::tail);
            let offset = self.next_offset();
            self.record(Record::MessageId { topic: topic.clone(), offset, time: now, id, message }, records);
        }
        let producer = append.producer.as_ref().map(|step| (step.epoch, step.seq));
        if append.close {
            self.close_topic(topic, append.producer, records);
        }
        let tail = self.topics.get(topic).map_or(Offset::ZERO, TopicLedger::tail);
        Ok(Outcome::Appended(Appended { tail, duplicate: false, created, closed: append.close, producer }))
    }

    /// Refuses what may not be appended; answers what had been appended before.
    fn check_append(&self, append: &Append, message_id: Option<&Arc<str>>, now: Timestamp) -> Result<Verdict> {
        let Some(topic) = self.topics.get(&append.topic) else { return Err(topic_not_found(&append.topic)) };
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

    /// Appends a topic's messages. One look-up and one way back serve them all, since this is what a log does most.
    pub(super) fn append_messages(
        &mut self,
        name: &TopicName,
        messages: Vec<NewMessage>,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) {
        // The ledger's own name is shared by all messages of the topic.
        let Some((name, _)) = self.topics.get_key_value(name).filter(|_| !messages.is_empty()) else { return };
        let name = name.clone();
        let Some(topic) = self.topics.get_mut(&name) else { return };
        self.journal.push(Undo::Last(name.clone(), topic.last));
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
