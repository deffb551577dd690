//! A reader: every message once and in order, over whichever transport, across reconnections.
//!
//! It is a cursor and a source. What a source brings is handed out event by event, and the cursor moves with them;
//! when the source fails, it is asked again from the cursor. How a source gets at its messages is its own business.

use std::collections::VecDeque;
use std::fmt;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use quintet_wire::token::{Cursor, Since};
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::error::Error;
use crate::event::Event;

/// A reader of a topic, or of all topics that match a filter.
pub struct Subscription {
    source: Box<dyn Source>,
    // Where the next fetch begins: after everything in the queue.
    ahead: Since,
    // After the last event that was handed out.
    position: Since,
    queue: VecDeque<Event>,
    // Nothing comes after the queue.
    over: bool,
    backoff: Backoff,
    // Kept here and not in the future of `next`, so that dropping that does not begin the wait anew.
    retry_at: Option<Instant>,
}

/// Some events, and where they leave the reader.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    /// The cursor after them; `None` leaves it to the messages.
    pub(crate) next: Option<Cursor>,
    /// Whether nothing can follow.
    pub(crate) last: bool,
}

/// Where a subscription's events come from.
pub(crate) trait Source: Send {
    /// Brings what comes after `since`, and waits for it as the pattern does; may bring nothing. After an error it
    /// is asked again, from the beginning as it were. Dropping the future loses nothing.
    fn fetch(&mut self, since: Since) -> BoxFuture<'_, Result<Batch, Error>>;
}

impl Subscription {
    pub(crate) fn new(source: impl Source + 'static, since: Since) -> Self {
        Subscription {
            source: Box::new(source),
            ahead: since,
            position: since,
            queue: VecDeque::new(),
            over: false,
            backoff: Backoff::default(),
            retry_at: None,
        }
    }

    /// The next event; `None` when nothing can follow: the topic is closed or deleted, or there was an error that
    /// trying again cannot mend. Errors that pass are not reported (but logged), they only delay.
    ///
    /// Dropping the future loses nothing: the next call goes on where this one was.
    ///
    /// # Errors
    /// When the hub refuses for good, e.g. the token does not allow it or the cursor is too old. `None` follows.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                // After the last of a batch the reader stands where the source said, which may be further on.
                self.position = if self.queue.is_empty() { self.ahead } else { after(self.position, &event) };
                return Some(Ok(event));
            }
            self.position = self.ahead;
            if self.over {
                return None;
            }
            if let Some(at) = self.retry_at {
                sleep_until(at).await;
                self.retry_at = None;
            }
            match self.source.fetch(self.ahead).await {
                Ok(batch) => self.take(batch),
                Err(error) if error.is_retryable() => {
                    let delay = self.backoff.failed(error.retry_after());
                    tracing::warn!(%error, ?delay, cursor = %self.ahead, "reading was interrupted");
                    self.retry_at = Some(Instant::now() + delay);
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Where another reader would go on: after the last event that [`next`](Subscription::next) gave. It is
    /// [`Since::Now`] only as long as the hub has not said where that is.
    #[must_use]
    pub fn cursor(&self) -> Since {
        self.position
    }

    /// The same as a stream, which gives up [`cursor`](Subscription::cursor).
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, Error>> + Send {
        futures_util::stream::unfold(self, async |mut this| this.next().await.map(|event| (event, this)))
    }

    fn take(&mut self, batch: Batch) {
        self.backoff.succeeded();
        self.over = batch.last;
        self.queue.extend(batch.events);
        self.ahead = match batch.next {
            Some(next) => next.into(),
            None => self.queue.iter().fold(self.ahead, after),
        };
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("cursor", &self.position).field("over", &self.over).finish_non_exhaustive()
    }
}

/// Where an event leaves a reader.
fn after(since: Since, event: &Event) -> Since {
    let mut cursor = match since {
        Since::At(cursor) => cursor,
        Since::Start | Since::Now => Cursor::START,
    };
    match event {
        Event::Message(message) => cursor.advance(message.offset),
        // Where these leave a reader depends on what it reads; the source says so.
        Event::Gap { .. } | Event::Closed { .. } | Event::Deleted { .. } => return since,
    }
    Since::At(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures_util::FutureExt;
    use quintet_wire::envelope::{Envelope, Headers};
    use quintet_wire::payload::Body;
    use quintet_wire::token::Token;

    struct Script(VecDeque<(Since, Result<Batch, Error>)>);

    impl Source for Script {
        fn fetch(&mut self, since: Since) -> BoxFuture<'_, Result<Batch, Error>> {
            let (expected, outcome) = self.0.pop_front().expect("asked once too often");
            assert_eq!(since, expected);
            async { outcome }.boxed()
        }
    }

    fn at(offset: u64) -> Token {
        Token { log: 1, offset }
    }

    fn message(offset: u64) -> Event {
        let (topic, headers, body) = ("t".to_owned(), Headers::new(), Body::text("x"));
        Event::Message(Envelope { topic, offset: at(offset), previous: at(0), time_ms: 0, headers, body })
    }

    fn batch(events: Vec<Event>, next: u64, last: bool) -> Result<Batch, Error> {
        Ok(Batch { events, next: Some(at(next).into()), last })
    }

    fn since(offset: u64) -> Since {
        Since::At(at(offset).into())
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_from_its_cursor_after_an_interruption() {
        let gap = Event::Gap { topic: "t".into(), first_available: at(8).into() };
        let closed = Event::Closed { topic: "t".into() };
        let script = [
            (Since::Start, batch(vec![message(1), message(3)], 4, false)),
            (since(4), Err(Error::new(ErrorKind::Transport, "broke"))),
            (since(4), batch(vec![], 5, false)),
            (since(5), batch(vec![gap.clone()], 8, false)),
            (since(8), batch(vec![message(9), closed.clone()], 9, true)),
        ];
        let mut subscription = Subscription::new(Script(script.into()), Since::Start);
        let mut seen = Vec::new();
        while let Some(event) = subscription.next().await {
            seen.push((event.unwrap(), subscription.cursor()));
        }
        let expected = [(message(1), 1), (message(3), 4), (gap, 8), (message(9), 9), (closed, 9)];
        assert_eq!(seen, expected.map(|(event, offset)| (event, since(offset))));
    }

    #[tokio::test]
    async fn ends_after_a_final_error() {
        let script = [(Since::Now, Err(Error::new(ErrorKind::Protocol, "strange")))];
        let mut subscription = Subscription::new(Script(script.into()), Since::Now);
        assert_eq!(subscription.next().await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
        assert!(subscription.next().await.is_none());
    }
}
