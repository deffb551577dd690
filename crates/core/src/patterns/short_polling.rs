//! Short polling: read what is new since a cursor, and answer at once.

use crate::error::Result;
use crate::hub::Hub;
use crate::reading::{Page, Read};

impl Hub {
    /// Reads what is new, at once. It counts as a use of the topic.
    ///
    /// Dropping the future has no effect.
    pub async fn read(&self, read: &Read) -> Result<Page> {
        let (topic, from) = self.locate(&read.topic, &read.since, read.absent).await?;
        let messages = read.messages.clamp(1, self.limits.read_messages);
        self.read_at(topic.as_deref(), from, messages).await
    }
}
