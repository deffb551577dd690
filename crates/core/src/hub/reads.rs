//! Where a reader stands in a topic, and what lies behind that: the read that all patterns share.

use std::sync::Arc;

use crate::batch::Batch;
use crate::cursor::{Position, Since};
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::hub::topics::not_found;
use crate::name::TopicName;
use crate::reading::{Absent, Page};
use crate::topic::{Glance, Topic};

impl Hub {
    /// Finds a topic and the position that a reader means in it.
    pub(crate) async fn locate(
        &self,
        name: &TopicName,
        since: &Since,
        absent: Absent,
    ) -> Result<(Option<Arc<Topic>>, Position)> {
        // The end has to be older than the look: a topic that comes into being in between is not to be skipped.
        let end = self.end_of(self.home_of(name));
        let topic = self.find(name).await?;
        if let Some(topic) = &topic {
            topic.check_not_hidden()?;
        }
        let info = topic.as_ref().and_then(|topic| topic.info());
        if info.is_none() && absent == Absent::Error {
            return Err(not_found(name));
        }
        let position = match since {
            Since::Start => Position::START,
            Since::Now => info.as_ref().map_or(Position::START, |info| info.next),
            Since::After(cursor) => {
                let own = info
                    .as_ref()
                    .and_then(|info| cursor.in_log(info.created.log).map(|offset| (info.created.log, offset)));
                own.map_or(cursor.position(), |(log, offset)| Position { log, offset })
            }
        };
        self.check_log_of_members(name, position)?;
        if let Some(topic) = &topic
            && info.is_some()
        {
            topic.touch(self.clock.now());
        }
        let position = match &topic {
            Some(topic) => topic.admit(position, self.registry.newest(position.log))?,
            None => position,
        };
        // The start of what does not exist yet is the end of what there is.
        let position = if position.is_start() { end } else { position };
        Ok((topic, position))
    }

    /// Who is on a topic is told in one log only, so that a cursor of another one is stale although there may be no topic
    /// to compare it with: what its reader knows was true of an earlier process.
    fn check_log_of_members(&self, name: &TopicName, position: Position) -> Result<()> {
        let is_other = |log| log != position.log && !position.is_start() && name.members_of().is_some();
        if self.presence().log().is_some_and(is_other) {
            let detail = "the cursor is of a hub that was started earlier; take a new snapshot of who is there";
            return Err(Error::new(Kind::StaleCursor, detail));
        }
        Ok(())
    }

    /// Reads on from a position that was located.
    pub(crate) async fn read_at(&self, topic: Option<&Topic>, from: Position, messages: usize) -> Result<Page> {
        let bytes = self.limits.read_bytes;
        let nothing =
            |info| Page { info, from, batch: Arc::new(Batch::new(Vec::new(), from)), up_to_date: true, closed: false };
        let Some(topic) = topic else { return Ok(nothing(None)) };
        let (batch, up_to_date) = match topic.glance(from, messages, bytes)? {
            Glance::Absent => return Ok(nothing(None)),
            Glance::Batch { batch, up_to_date } => (batch, up_to_date),
            Glance::Behind { log, request, until } => {
                let Some(engine) = self.engine(log) else { return Ok(nothing(None)) };
                let after = request.after;
                let page = engine.read(request).await?;
                if page.trimmed_through > after {
                    // Retention has overtaken the read, which may not be known here yet.
                    return Err(topic.gap(Position { log, offset: page.trimmed_through }));
                }
                // If there is nothing, as of a fork that inherits nothing, reading goes on in memory.
                let offset = page.messages.last().map_or(until, |message| message.offset);
                let next = Position { log, offset };
                (Arc::new(Batch::new(page.messages, next)), page.complete)
            }
        };
        // Told after the messages, so that a closure that came in between is not told before what it closes.
        let info = topic.info();
        let next = batch.next();
        let at_end = info.as_ref().is_some_and(|info| next.offset >= info.next.offset);
        let closed = at_end && info.as_ref().is_some_and(|info| info.closed);
        Ok(Page { info, from, batch, up_to_date: up_to_date && at_end, closed })
    }
}
