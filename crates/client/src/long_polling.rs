//! Long polling: ask what is new, and let the hub keep the question until there is something.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quintet_wire::token::Since;

use crate::client::Client;
use crate::error::Error;
use crate::reading::{How, Page, batch, read};
use crate::subscription::{Batch, Source, Subscription};

/// How long the hub keeps a question when nothing is said about it.
pub const WAIT: Duration = Duration::from_secs(25);

impl Client {
    /// Asks once, and waits for an answer as long as told (whole seconds, at most 60): the first new messages, or
    /// none when there were none in that time.
    ///
    /// Dropping the future abandons the question; nothing is lost, as the cursor has not moved.
    ///
    /// # Errors
    /// When there is no answer, or the hub refuses: among others with the problem `gap`, which says where to go on.
    pub async fn long_poll(&self, topic: &str, since: Since, wait: Duration) -> Result<Page, Error> {
        read(self, topic, since, How { wait: Some(wait), etag: None }).await
    }

    /// Reads a topic with one long poll after another. Nothing is sent before the first
    /// [`next`](Subscription::next).
    #[must_use]
    pub fn long_polling(&self, topic: &str, since: Since) -> Subscription {
        let source = LongPolling { client: self.clone(), topic: topic.to_owned(), asked: None };
        Subscription::new(source, since)
    }
}

struct LongPolling {
    client: Client,
    topic: String,
    // The question under way, kept so that dropping the future of a fetch does not ask it again.
    asked: Option<BoxFuture<'static, Result<Page, Error>>>,
}

impl Source for LongPolling {
    fn fetch(&mut self, since: Since) -> BoxFuture<'_, Result<Batch, Error>> {
        async move {
            let asked = self.asked.get_or_insert_with(|| {
                let (client, topic) = (self.client.clone(), self.topic.clone());
                // Where "now" is has to be known before waiting there: a question that breaks off could not be asked
                // again without losing what was published meanwhile.
                let wait = if since == Since::Now { None } else { Some(WAIT) };
                async move { read(&client, &topic, since, How { wait, etag: None }).await }.boxed()
            });
            let outcome = asked.await;
            self.asked = None;
            batch(&self.topic, outcome)
        }
        .boxed()
    }
}
