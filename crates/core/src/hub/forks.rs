//! Where a fork leaves its source: what a client asked for, made into an offset and, where it falls into the middle
//! of a message, that message's first part.

use std::sync::Arc;

use crate::cursor::{Offset, Position};
use crate::engine::transaction::Fork;
use crate::engine::{Durability, ReadRequest};
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::hub::topics::{CreateTopic, ForkOf};
use crate::message::{Message, NewMessage};
use crate::topic::TopicInfo;

impl Hub {
    /// Fills in what a fork takes from its source.
    pub(crate) async fn resolve_fork(&self, mut create: CreateTopic, of: &ForkOf) -> Result<CreateTopic> {
        let source = match self.describe(&of.source).await {
            Err(error) if *error.kind() == Kind::TopicGone => {
                return Err(Error::new(Kind::TopicExists, error.to_string()));
            }
            source => source?,
        };
        create.config.content_type = match &of.content_type {
            Some(given) => given.clone(),
            None => source.config.content_type.clone(),
        };
        create.config.fixed_type |= source.config.fixed_type;
        if create.config.ttl.is_none() && create.config.expires_at.is_none() {
            create.config.ttl = source.config.ttl;
            create.config.expires_at = source.config.expires_at;
        }
        check_durability(create.durability, &source)?;
        create.durability = Some(source.durability);
        let anchor = self.anchor(of, &source)?;
        let (through, part) = self.behind_anchor(&source, anchor, of.sub_offset).await?;
        create.messages.splice(0..0, part);
        create.config.fork = Some(Fork {
            source: of.source.clone(),
            source_created: source.created.offset,
            through,
            sub_offset: of.sub_offset,
            anchor,
        });
        Ok(create)
    }

    fn anchor(&self, of: &ForkOf, source: &TopicInfo) -> Result<Offset> {
        let position = match of.at {
            None => return Ok(source.next.offset),
            Some(position) if position.is_start() => return Ok(Offset::ZERO),
            Some(position) => position,
        };
        if position.log != source.created.log || position.offset > source.next.offset {
            return Err(Error::new(
                Kind::BadCursor,
                format!("the fork offset is not a position of {}, or lies beyond its end", of.source),
            ));
        }
        Ok(position.offset)
    }

    /// The last offset that is inherited whole, and what is inherited of the message behind it.
    async fn behind_anchor(
        &self,
        source: &TopicInfo,
        anchor: Offset,
        sub_offset: u64,
    ) -> Result<(Offset, Option<NewMessage>)> {
        if sub_offset == 0 {
            return Ok((self.last_through(source, anchor).await?, None));
        }
        let by_message = is_json(source.config.content_type.essence());
        let n_wanted = if by_message { sub_offset } else { 1 };
        let overshoot = || {
            Error::new(
                Kind::BadRequest,
                "the fork's sub-offset lies beyond the next message boundary; use a later fork offset instead",
            )
        };
        let n_wanted = usize::try_from(n_wanted).map_err(|_| overshoot())?;
        if n_wanted > self.limits.batch_messages {
            return Err(overshoot());
        }
        let messages = self.first_behind(source, anchor, n_wanted).await?;
        let last = messages.last().filter(|_| messages.len() == n_wanted).ok_or_else(overshoot)?;
        if by_message {
            return Ok((last.offset, None));
        }
        let n_bytes = usize::try_from(sub_offset).map_err(|_| overshoot())?;
        if n_bytes == last.payload.len() {
            return Ok((last.offset, None));
        }
        if n_bytes > last.payload.len() {
            return Err(overshoot());
        }
        let part = NewMessage {
            content_type: Some(last.content_type.clone()),
            headers: last.headers.clone(),
            payload: last.payload.slice(..n_bytes),
        };
        Ok((last.previous, Some(part)))
    }

    /// The source's last message at or before an anchor, which may be any position; zero if there is none.
    async fn last_through(&self, source: &TopicInfo, anchor: Offset) -> Result<Offset> {
        if anchor < source.next.offset
            && let Some(next) = self.first_behind(source, anchor, 1).await?.first()
        {
            return Ok(next.previous);
        }
        // The end of a topic without messages is where it was created.
        Ok(if source.next == source.created { Offset::ZERO } else { source.next.offset })
    }

    async fn first_behind(&self, source: &TopicInfo, anchor: Offset, n: usize) -> Result<Vec<Arc<Message>>> {
        let log = source.created.log;
        let engine = self.engine(log).ok_or_else(|| Error::new(Kind::Internal, "the source's log is not the hub's"))?;
        let mut messages: Vec<Arc<Message>> = Vec::new();
        let mut after = Position { log, offset: anchor };
        while messages.len() < n {
            let request = ReadRequest {
                topic: source.topic.clone(),
                created: source.created.offset,
                after: after.offset,
                messages: n - messages.len(),
                bytes: self.limits.read_bytes,
            };
            let page = engine.read(request).await?;
            let Some(last) = page.messages.last() else { break };
            after.offset = last.offset;
            messages.extend(page.messages);
        }
        Ok(messages)
    }
}

fn check_durability(wished: Option<Durability>, source: &TopicInfo) -> Result<()> {
    if wished.is_some_and(|wished| wished != source.durability) {
        return Err(Error::new(
            Kind::BadRequest,
            format!("a fork has its source's durability, {}; leave it out", source.durability.name()),
        ));
    }
    Ok(())
}

fn is_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}
