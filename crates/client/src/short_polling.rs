//! Short polling: ask what is new, get an answer at once, ask again after a while.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quintet_wire::token::Since;
use tokio::time::{Instant, sleep_until};

use crate::client::Client;
use crate::error::Error;
use crate::reading::{How, batch, read};
use crate::subscription::{Batch, Source, Subscription};

pub use crate::reading::Page;

/// How often to ask when nothing is said about it.
pub const INTERVAL: Duration = Duration::from_secs(1);

impl Client {
    /// Asks once what is new in a topic. A topic that does not exist is an empty one.
    ///
    /// Dropping the future abandons the question; asking again costs nothing but the question.
    ///
    /// # Errors
    /// When there is no answer, or the hub refuses: among others with the problem `gap`, which says where to go on.
    pub async fn short_poll(&self, topic: &str, since: Since) -> Result<Page, Error> {
        read(self, topic, since, How::default()).await
    }

    /// Reads a topic by asking again and again: at once while there is more, otherwise once an interval.
    /// Nothing is sent before the first [`next`](Subscription::next).
    #[must_use]
    pub fn short_polling(&self, topic: &str, since: Since, interval: Duration) -> Subscription {
        let source = ShortPolling {
            client: self.clone(),
            topic: topic.to_owned(),
            interval,
            asked: None,
            etag: None,
            not_before: None,
        };
        Subscription::new(source, since)
    }
}

struct ShortPolling {
    client: Client,
    topic: String,
    interval: Duration,
    // The question under way, kept so that dropping the future of a fetch does not ask it again.
    asked: Option<BoxFuture<'static, Result<Page, Error>>>,
    // Of the last answer, with the cursor that it was an answer for.
    etag: Option<(Since, String)>,
    not_before: Option<Instant>,
}

impl Source for ShortPolling {
    fn fetch(&mut self, since: Since) -> BoxFuture<'_, Result<Batch, Error>> {
        async move {
            if let Some(at) = self.not_before {
                sleep_until(at).await;
                self.not_before = None;
            }
            let asked = self.asked.get_or_insert_with(|| {
                let (client, topic) = (self.client.clone(), self.topic.clone());
                let etag = self.etag.take().and_then(|(of, etag)| (of == since).then_some(etag));
                async move { read(&client, &topic, since, How { wait: None, etag }).await }.boxed()
            });
            let outcome = asked.await;
            self.asked = None;
            if let Ok(page) = &outcome {
                self.etag = page.etag.clone().map(|etag| (since, etag));
                self.not_before = page.up_to_date.then(|| Instant::now() + self.interval);
            }
            batch(&self.topic, outcome)
        }
        .boxed()
    }
}
