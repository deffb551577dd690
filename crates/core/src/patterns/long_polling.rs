//! Long polling: read what is new since a cursor; if there is nothing, wait once, then answer.

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::fanout::Delivery;
use crate::fanout::mailbox::mailbox;
use crate::following::Start;
use crate::hub::Hub;
use crate::reading::{Page, Read};

impl Hub {
    /// Reads what is new; if there is nothing, waits until there is, the topic is closed or deleted, or the time is
    /// up. When the time is up, the page is empty.
    ///
    /// Dropping the future ends the wait and loses nothing: the cursor is with the caller.
    pub async fn wait(&self, read: &Read, until: Instant) -> Result<Page> {
        let (topic, from) = self.locate(&read.topic, &read.since, read.absent).await?;
        let messages = read.messages.clamp(1, self.limits.read_messages);
        let page = self.read_at(topic.as_deref(), from, messages).await?;
        if !page.batch.is_empty() || page.closed || Instant::now() >= until {
            return Ok(page);
        }
        let topic = match topic {
            Some(topic) => topic,
            None => self.live(&read.topic).await?,
        };
        let (letterbox, mut mailbox) = mailbox();
        let start = Start::of_topic(topic.clone(), from);
        mailbox.attach(self.follow(start, Box::new(letterbox))?);
        let delivery = match timeout_at(until, mailbox.take()).await {
            Ok(delivery) => delivery,
            // What came in the same instant is not to be left behind.
            Err(_) => mailbox.try_take(),
        };
        match delivery {
            // The batch is shared by all that waited at the same place, and so is what it is encoded to.
            Some(Delivery::Messages { batch, up_to_date: true, closed }) if batch.messages().len() <= messages => {
                Ok(Page { info: topic.info(), from, batch, up_to_date: true, closed })
            }
            Some(Delivery::Messages { .. } | Delivery::Closed { .. }) => {
                let from = if topic.log().is_none_or(|log| log == from.log) { from } else { topic.start()? };
                self.read_at(Some(&topic), from, messages).await
            }
            Some(Delivery::Gap { first_available, .. }) => Err(Error::new(
                Kind::Gap { first_available },
                "messages behind this cursor were removed by retention; go on from first_available",
            )),
            Some(Delivery::Deleted { .. }) => Err(Error::new(
                Kind::TopicDeleted,
                format!("the topic {} was deleted; start again with -1", read.topic),
            )),
            Some(Delivery::Failed(error)) => Err(error),
            None => self.read_at(Some(&topic), from, messages).await,
        }
    }
}
