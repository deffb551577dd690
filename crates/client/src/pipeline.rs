//! The task behind a publisher: takes messages from a queue, sends them in batches with many under way, reconnects,
//! and answers those who wait for the acknowledgement. What an answer means is the window's to say.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quintet_wire::session::answer::Published;
use quintet_wire::session::command::{Id, Message};
use quintet_wire::session::hub::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::Error;
use crate::http::parse;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, QUEUE_MESSAGES_MAX, WINDOW_BATCHES_MAX};
use crate::publish_subscribe::Summary;
use crate::window::{Verdict, Window};

/// What a publisher tells its task.
#[derive(Debug)]
pub(crate) enum Order {
    Publish(Message, OwnedSemaphorePermit),
    /// To be answered when everything before it is acknowledged.
    Flush(oneshot::Sender<Summary>),
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    client: Client,
    orders: mpsc::Receiver<Order>,
    window: Window,
    // Who waits for how many batches to be done.
    flushes: VecDeque<(u64, oneshot::Sender<Summary>)>,
    summary: Summary,
    backoff: Backoff,
    // Nobody can give orders any more.
    ordered_all: bool,
}

impl Pipeline {
    pub(crate) fn new(client: Client, orders: mpsc::Receiver<Order>, window: Window) -> Self {
        Pipeline {
            client,
            orders,
            window,
            flushes: VecDeque::new(),
            summary: Summary::default(),
            backoff: Backoff::default(),
            ordered_all: false,
        }
    }

    /// Runs until every order is carried out and no more can come, or until the hub refuses for good, which then
    /// stands in `failure`.
    pub(crate) async fn run(mut self, failure: Arc<OnceLock<Error>>, room: Arc<Semaphore>) {
        while let Err(error) = self.attempt().await {
            if !error.is_retryable() {
                tracing::debug!(%error, "publishing ended");
                failure.get_or_init(|| error);
                break;
            }
            let delay = self.backoff.failed(error.retry_after());
            tracing::warn!(%error, ?delay, n_batches = self.window.len(), "publishing was interrupted");
            sleep(delay).await;
        }
        // Wakes publishers that wait for room; they then find the failure.
        room.close();
    }

    /// Publishes over one connection, until there is nothing left to do or it breaks.
    async fn attempt(&mut self) -> Result<(), Error> {
        let mut connection = Connection::open(&self.client).await?;
        self.window.unsend();
        let mut orders = Vec::new();
        loop {
            self.send(&mut connection).await?;
            if self.ordered_all && self.window.is_empty() {
                connection.close().await;
                return Ok(());
            }
            let takes_orders = !self.ordered_all && self.window.len() < WINDOW_BATCHES_MAX;
            tokio::select! {
                frame = connection.receive() => self.take(frame?)?,
                n_orders = self.orders.recv_many(&mut orders, QUEUE_MESSAGES_MAX), if takes_orders => {
                    self.ordered_all = n_orders == 0;
                    self.carry_out(&mut orders);
                }
            }
        }
    }

    /// Sends the batches that were not sent on this connection. While it does it reads no answers, which cannot
    /// stall: the answers to a whole window fit between the two ends.
    async fn send(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let mut fed = false;
        loop {
            let mut next_id = None;
            let Some((id, publish)) = self.window.next_unsent(|| *next_id.insert(connection.id())) else { break };
            connection.feed(publish, id).await?;
            fed = true;
        }
        if fed { connection.flush().await } else { Ok(()) }
    }

    /// Puts messages into batches.
    fn carry_out(&mut self, orders: &mut Vec<Order>) {
        let mut batch = Forming::default();
        for order in orders.drain(..) {
            match order {
                Order::Publish(message, permit) => {
                    if batch.is_full_for(&message) {
                        std::mem::take(&mut batch).seal(&mut self.window);
                    }
                    batch.add(message, permit);
                }
                Order::Flush(waiting) => {
                    std::mem::take(&mut batch).seal(&mut self.window);
                    self.flushes.push_back((self.window.n_formed(), waiting));
                }
            }
        }
        batch.seal(&mut self.window);
        self.answer_flushes();
    }

    fn take(&mut self, frame: Frame) -> Result<(), Error> {
        let Frame::Answer { id, result } = frame else { return Ok(()) };
        let Some(id) = id.as_ref().and_then(Id::as_u64) else {
            // The hub could not read a frame of ours. Which one it was is unknown, so nothing can be right any more.
            return result.map(drop).map_err(|problem| Error::refused(*problem, None));
        };
        match result {
            Ok(ok) => {
                let published: Published = parse(ok.get().as_bytes())?;
                if let Some(n_messages) = self.window.acknowledged(id) {
                    self.backoff.succeeded();
                    self.summary.messages += n_messages as u64;
                    self.summary.duplicate_batches += u64::from(published.duplicate);
                    self.answer_flushes();
                }
                Ok(())
            }
            Err(problem) => match self.window.refused(id, &problem) {
                Verdict::Ignore | Verdict::Resend => Ok(()),
                Verdict::Restarted { lost } => {
                    self.summary.restarts += 1;
                    let n_batches = self.window.len();
                    if lost {
                        tracing::warn!(n_batches, "the topic was lost or deleted; what is not acknowledged goes again");
                    } else {
                        tracing::warn!(n_batches, "another producer used this id; what is not acknowledged goes again");
                    }
                    self.answer_flushes();
                    Ok(())
                }
                // The connection is given up with it, so that the batches go again in order, on a new one.
                Verdict::RetryLater | Verdict::Fatal => Err(Error::refused(*problem, Some(Duration::ZERO))),
            },
        }
    }

    fn answer_flushes(&mut self) {
        let n_done = self.window.n_done();
        while let Some((_, waiting)) = self.flushes.pop_front_if(|(n_batches, _)| *n_batches <= n_done) {
            // Whoever does not wait any more does not want to know.
            waiting.send(self.summary).ok();
        }
    }
}

/// A batch that still takes messages.
#[derive(Debug, Default)]
struct Forming {
    messages: Vec<Message>,
    n_bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Forming {
    fn is_full_for(&self, message: &Message) -> bool {
        let n_bytes = self.n_bytes + message.body.bytes.len();
        !self.messages.is_empty() && (self.messages.len() >= BATCH_MESSAGES_MAX || n_bytes > BATCH_BYTES_MAX)
    }

    fn add(&mut self, message: Message, permit: OwnedSemaphorePermit) {
        self.n_bytes += message.body.bytes.len();
        self.messages.push(message);
        match &mut self.permits {
            Some(permits) => permits.merge(permit),
            None => self.permits = Some(permit),
        }
    }

    fn seal(self, window: &mut Window) {
        if !self.messages.is_empty() {
            window.push(self.messages, self.permits);
        }
    }
}
