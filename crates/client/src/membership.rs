//! The task behind a consumer: joins a group over a WebSocket, passes deliveries on, says words about them in batches,
//! and after a break joins again. What is to be said, and what is said anew, is for `hands` to know.

use std::pin::pin;

use quintet_wire::groups::Results;
use quintet_wire::session::command::{Command, Id};
use quintet_wire::session::groups::{Consume, Consuming, Credit};
use quintet_wire::session::hub::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::Connection;
use crate::consumer::{Delivery, Handle};
use crate::error::Error;
use crate::hands::{Hands, Word};
use crate::http::parse;
use crate::limits::ORDERS_MAX;

/// What a consumer tells its task.
#[derive(Debug)]
pub(crate) enum Order {
    Say(Word),
    Credit(u32),
    /// Leave, and answer when that is done.
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) struct Membership {
    client: Client,
    // The credit is what is wanted now; 0 pauses.
    consume: Consume,
    orders: mpsc::UnboundedReceiver<Order>,
    out: mpsc::Sender<Result<Delivery, Error>>,
    hands: Hands,
    closing: Option<oneshot::Sender<()>>,
    backoff: Backoff,
    // The hub refused for a while: nothing is said before.
    quiet_until: Option<Instant>,
}

/// What is agreed on one connection.
#[derive(Debug)]
struct Session {
    // The id of `consume`.
    joining: u64,
    // The consumer's number, when the hub has told it.
    consumer: Option<u64>,
    credit: u32,
}

impl Membership {
    pub(crate) fn new(
        client: Client,
        consume: Consume,
        orders: mpsc::UnboundedReceiver<Order>,
        out: mpsc::Sender<Result<Delivery, Error>>,
    ) -> Self {
        let (hands, backoff) = (Hands::default(), Backoff::default());
        Membership { client, consume, orders, out, hands, closing: None, backoff, quiet_until: None }
    }

    /// Runs until the consumer has left in order, or until the hub refuses for good, which then stands in the
    /// handle's `failure`.
    pub(crate) async fn run(mut self, handle: Handle) {
        while let Err(error) = self.attempt(&handle).await {
            if !error.is_retryable() {
                tracing::debug!(%error, "consuming ended");
                handle.failure.get_or_init(|| error.clone());
                let out = self.out.clone();
                // Those who wait for an answer find the failure, and then come for this.
                drop(self);
                out.send(Err(error)).await.ok();
                return;
            }
            let delay = self.backoff.failed(error.retry_after());
            tracing::warn!(%error, ?delay, group = self.consume.group, "consuming was interrupted");
            if self.meanwhile(sleep(delay)).await.is_none() {
                break;
            }
        }
        if let Some(closing) = self.closing {
            closing.send(()).ok();
        }
    }

    /// Takes part over one connection, until there is nothing left to do or it breaks.
    async fn attempt(&mut self, handle: &Handle) -> Result<(), Error> {
        let client = self.client.clone();
        let Some(opened) = self.meanwhile(Connection::open(&client)).await else { return Ok(()) };
        let mut connection = opened?;
        let outcome = self.take_part(&mut connection, handle).await;
        self.hands.broke();
        self.quiet_until = None;
        if outcome.is_ok() {
            connection.close().await;
        }
        outcome
    }

    async fn take_part(&mut self, connection: &mut Connection, handle: &Handle) -> Result<(), Error> {
        // Nobody can join without credit; whoever pauses takes it back at once.
        let consume = Consume { credit: self.consume.credit.max(1), ..self.consume.clone() };
        let mut session = Session { joining: connection.id(), consumer: None, credit: consume.credit };
        connection.send(&Command::Consume(consume), session.joining).await?;
        let (out, mut orders) = (self.out.clone(), Vec::new());
        while !self.is_done() {
            self.speak(connection, &mut session).await?;
            let hands_out = self.hands.has_ready() && !out.is_closed();
            let quiet_until = self.quiet_until;
            tokio::select! {
                frame = connection.receive() => self.hear(frame?, &mut session)?,
                _ = self.orders.recv_many(&mut orders, ORDERS_MAX) => {
                    orders.drain(..).for_each(|order| self.obey(order));
                }
                permit = out.reserve(), if hands_out => {
                    // Without a place it stays where it is, and is given back when the consumer says that it leaves.
                    if let Ok(permit) = permit
                        && let Some(delivered) = self.hands.take()
                    {
                        permit.send(Ok(Delivery::new(delivered, handle.clone())));
                    }
                }
                () = sleep_until(quiet_until.unwrap_or_else(Instant::now)), if quiet_until.is_some() => {
                    self.quiet_until = None;
                }
            }
        }
        Ok(())
    }

    /// Says what there is to say. While it does it hears nothing, which cannot stall: the answers to all that may be
    /// under way fit between the two ends.
    async fn speak(&mut self, connection: &mut Connection, session: &mut Session) -> Result<(), Error> {
        let Some(consumer) = session.consumer.filter(|_| self.quiet_until.is_none()) else { return Ok(()) };
        let credit = if self.closing.is_some() { 0 } else { self.consume.credit };
        let mut fed = false;
        if credit != session.credit {
            let id = connection.id();
            connection.feed(&Command::Credit(Credit { consumer, credit }), id).await?;
            session.credit = credit;
            fed = true;
        }
        while let Some((id, command)) = self.hands.next_command(consumer, || connection.id()) {
            connection.feed(&command, id).await?;
            fed = true;
        }
        if fed { connection.flush().await } else { Ok(()) }
    }

    fn hear(&mut self, frame: Frame, session: &mut Session) -> Result<(), Error> {
        match frame {
            // The first may come before the answer that tells the consumer's number; there is but this one.
            Frame::Deliveries { messages, .. } => {
                messages.into_iter().for_each(|delivered| self.hands.receive(delivered));
                if self.closing.is_some() {
                    self.hands.decline();
                }
            }
            Frame::Ended { problem, .. } => return Err(Error::refused(*problem, None)),
            Frame::Answer { id, result } => {
                let Some(id) = id.as_ref().and_then(Id::as_u64) else {
                    // The hub could not read a frame of ours. Which one it was is unknown, so nothing can be right.
                    return result.map(drop).map_err(|problem| Error::refused(*problem, None));
                };
                match result {
                    Ok(ok) if id == session.joining => {
                        let Consuming { consumer } = parse(ok.get().as_bytes())?;
                        session.consumer = Some(consumer);
                        self.backoff.succeeded();
                    }
                    Ok(ok) if self.hands.waits_for(id) => {
                        let Results { results } = parse(ok.get().as_bytes())?;
                        self.hands.answered(id, &results);
                        self.backoff.succeeded();
                    }
                    Ok(_) => {}
                    Err(problem) if id == session.joining => return Err(Error::refused(*problem, None)),
                    Err(problem) => {
                        tracing::debug!(%problem, "the hub refused a word");
                        if self.hands.refused(id, &problem) {
                            self.quiet_until = Some(Instant::now() + self.backoff.failed(None));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Say(word) => self.hands.say(word),
            Order::Credit(credit) => self.consume.credit = credit,
            Order::Close(done) => {
                self.closing = Some(done);
                self.hands.decline();
            }
        }
    }

    /// Waits for something else, and obeys; `None` when there is nothing left to do.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let mut what = pin!(what);
        while !self.is_done() {
            tokio::select! {
                done = &mut what => return Some(done),
                Some(order) = self.orders.recv() => self.obey(order),
            }
        }
        None
    }

    fn is_done(&self) -> bool {
        self.closing.is_some() && self.hands.is_empty()
    }
}
