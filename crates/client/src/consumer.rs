//! A member of a consumer group: takes messages over a WebSocket, each of which went to it alone, and says of each when
//! its work is done. What goes over the connection is in `membership`.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::Stream;
use quintet_wire::envelope::Envelope;
use quintet_wire::groups::{self, Delivered, Outcome};
use quintet_wire::session::groups::Consume;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::hands::{Say, Word};
use crate::membership::{Membership, Order};

impl Client {
    /// Takes part in a consumer group, one message at a time unless told otherwise, over a WebSocket.
    #[must_use]
    pub fn consume(&self, group: &str) -> ConsumerBuilder {
        let consume = Consume { group: group.to_owned(), credit: 1, member: String::new() };
        ConsumerBuilder { client: self.clone(), consume }
    }
}

/// Who consumes.
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    client: Client,
    consume: Consume,
}

impl ConsumerBuilder {
    /// Names the member, for those who look at the group; nameless, unless told.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.consume.member = name.into();
        self
    }

    /// Sets how many messages it holds at once that are not acknowledged; 1, unless told.
    #[must_use]
    pub fn credit(mut self, credit: u32) -> Self {
        self.consume.credit = credit.max(1);
        self
    }

    /// Starts. The connection is made in the background, in a task of the current tokio runtime.
    #[must_use]
    pub fn start(self) -> Consumer {
        let (orders, queue) = mpsc::unbounded_channel();
        // One that is not taken yet is enough to be taken at once; all others can still be given to somebody else.
        let (out, deliveries) = mpsc::channel(1);
        let failure = Arc::new(OnceLock::new());
        let membership = Membership::new(self.client, self.consume, queue, out);
        let mut task = JoinSet::new();
        task.spawn(membership.run(Handle { orders: orders.clone(), failure: Arc::clone(&failure) }));
        Consumer { deliveries, handle: Handle { orders, failure }, task }
    }
}

/// A member of a group. Reconnects by itself, and joins again with the same name and credit.
///
/// Dropping it leaves the group at once: what it holds is handed out again. End it with [`close`](Consumer::close).
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Result<Delivery, Error>>,
    handle: Handle,
    // Aborts the task when it is dropped.
    task: JoinSet<()>,
}

/// How the task is told things.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    // As many as there are deliveries, each of which says one last word; what it says before it waits for.
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) failure: Arc<OnceLock<Error>>,
}

impl Handle {
    pub(crate) fn ended(&self) -> Error {
        self.failure.get().cloned().unwrap_or_else(|| Error::new(ErrorKind::Ended, "the consumer has ended"))
    }
}

impl Consumer {
    /// The next message; `None` when nothing can follow, because the hub refused for good. Errors that pass are not
    /// reported (but logged), they only delay.
    ///
    /// A message that the hub hands out again to this consumer while it is still being worked on here, or its
    /// acknowledgement is under way, does not come a second time.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the hub refuses for good, e.g. because the group was deleted. `None` follows.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        self.deliveries.recv().await
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Delivery, Error>> + Send {
        futures_util::stream::unfold(self, async |mut this| this.next().await.map(|delivery| (delivery, this)))
    }

    /// Sets how many messages it holds at once; 0 pauses. What it holds already it keeps.
    pub fn set_credit(&self, credit: u32) {
        // If the task has ended, `next` says why.
        drop(self.handle.orders.send(Order::Credit(credit)));
    }

    /// Leaves the group in order: takes nothing more, gives back what [`next`](Consumer::next) has not given, and
    /// waits until every delivery is acknowledged, given back or dropped, and the hub has answered.
    ///
    /// Dropping the future leaves at once, as dropping the consumer does.
    ///
    /// # Errors
    /// The reason for which the consumer has ended before: the hub refused for good.
    pub async fn close(self) -> Result<(), Error> {
        let Consumer { mut deliveries, handle, mut task } = self;
        deliveries.close();
        let (done, closed) = oneshot::channel();
        // If the task has ended, what it left behind says why.
        let asked = handle.orders.send(Order::Close(done));
        // The task may have got the place for one more just before: nothing is left behind only when it is `None`.
        while let Some(delivery) = deliveries.recv().await {
            delivery?.untouched();
        }
        asked.map_err(|_| handle.ended())?;
        closed.await.map_err(|_| handle.ended())?;
        task.join_next().await;
        Ok(())
    }
}

/// A message that the group has handed to this consumer, to be worked on. Dropping it without a word gives it back.
pub struct Delivery {
    delivered: Delivered,
    handle: Handle,
    said: bool,
}

impl Delivery {
    pub(crate) fn new(delivered: Delivered, handle: Handle) -> Self {
        Delivery { delivered, handle, said: false }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Envelope {
        &self.delivered.message
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.delivered.message.body.bytes
    }

    /// How it was handed out: its id, how often and why, and until when it has to be acknowledged or extended.
    #[must_use]
    pub fn delivery(&self) -> &groups::Delivery {
        &self.delivered.delivery
    }

    /// Settles the message: its work is done. Returns when the hub has answered, which it does when the settlement
    /// is as durable as the group. If the connection breaks meanwhile, it is said again.
    ///
    /// [`Outcome::Settled`] says that somebody else had acknowledged it before.
    ///
    /// Dropping the future, once it was polled, does not take it back.
    ///
    /// # Errors
    /// When the hub refuses for good, or the consumer has ended; the message may be handed out again then.
    pub async fn ack(mut self) -> Result<Outcome, Error> {
        self.last_word(Say::Ack).await
    }

    /// Gives the message back, to be handed out again after this delay, or after what the group's backoff says.
    ///
    /// Dropping the future, once it was polled, does not take it back.
    ///
    /// # Errors
    /// As [`ack`](Delivery::ack).
    pub async fn nack(mut self, delay: Option<Duration>) -> Result<Outcome, Error> {
        self.last_word(Say::Nack(delay)).await
    }

    /// Keeps the message for so long from now, or for the group's `ack_wait`. [`Outcome::Over`] says that its time
    /// was up already: somebody else may be working on it.
    ///
    /// Dropping the future, once it was polled, does not take it back.
    ///
    /// # Errors
    /// As [`ack`](Delivery::ack).
    pub async fn extend(&self, by: Option<Duration>) -> Result<Outcome, Error> {
        self.say(Say::Extend(by)).await
    }

    /// Gives it back as if it had never been here, as far as that is possible.
    fn untouched(mut self) {
        self.drop_with(Say::Nack(Some(Duration::ZERO)));
    }

    async fn last_word(&mut self, say: Say) -> Result<Outcome, Error> {
        self.said = true;
        self.say(say).await
    }

    async fn say(&self, say: Say) -> Result<Outcome, Error> {
        let (to, answer) = oneshot::channel();
        let word = Word { id: self.delivered.delivery.id, say, answer: Some(to) };
        self.handle.orders.send(Order::Say(word)).map_err(|_| self.handle.ended())?;
        answer.await.map_err(|_| self.handle.ended())?
    }

    fn drop_with(&mut self, say: Say) {
        if !std::mem::replace(&mut self.said, true) {
            let word = Word { id: self.delivered.delivery.id, say, answer: None };
            // If the consumer has ended, the hub has taken the message back.
            drop(self.handle.orders.send(Order::Say(word)));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.drop_with(Say::Nack(None));
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivered.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeHub, FakeSession};
    use quintet_wire::envelope::{Headers, Parts};
    use quintet_wire::groups::{Answered, DeliveryId, Results};
    use quintet_wire::problem::kind::Kind;
    use quintet_wire::problem::object::Problem;
    use quintet_wire::session::answer;
    use quintet_wire::session::command::{Command, Id};
    use quintet_wire::session::groups::{Consuming, Credit, Deliveries, Nack, ended};
    use quintet_wire::token::Token;

    fn id(offset: u64, count: u32) -> DeliveryId {
        DeliveryId { message: Token { log: 1, offset }, count }
    }

    fn frame(ids: &[DeliveryId]) -> String {
        let mut out = Vec::new();
        let mut frame = Deliveries::open(&mut out, 7);
        for id in ids {
            let previous = Token { log: 1, offset: 0 };
            let (topic, content_type, payload, time_ms) = ("t", "text/plain", b"x", 0);
            let parts = Parts { topic, offset: id.message, previous, time_ms, content_type, payload };
            let delivery = groups::Delivery { id: *id, count: id.count, reason: "new".into(), until: 0 };
            let none = Headers::new();
            let headers = none.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            groups::write(frame.next(), &parts, headers, &delivery);
        }
        frame.close();
        String::from_utf8(out).unwrap()
    }

    async fn join(hub: &FakeHub, credit: u32) -> FakeSession {
        let mut session = hub.session().await;
        let (id, command) = session.command().await.unwrap();
        assert_eq!(command, Command::Consume(Consume { group: "g".into(), credit, member: "anna".into() }));
        session.say(answer::ok(&id, &Consuming { consumer: 7 })).await;
        session
    }

    async fn acked(session: &mut FakeSession) -> (Id, Vec<DeliveryId>) {
        match session.command().await {
            Some((id, Command::Ack(ack))) => (id, ack.deliveries),
            other => panic!("no ack: {other:?}"),
        }
    }

    async fn done(session: &mut FakeSession, id: &Id, deliveries: &[DeliveryId]) {
        let results = deliveries.iter().map(|id| Answered { id: *id, result: Outcome::Done }).collect();
        session.say(answer::ok(id, &Results { results })).await;
    }

    #[tokio::test]
    async fn an_ack_survives_a_break_and_what_is_in_hands_does_not_come_again() {
        let (hub, client) = FakeHub::start().await;
        let mut consumer = client.consume("g").member("anna").credit(2).start();
        let hub_side = async {
            let mut session = join(&hub, 2).await;
            session.say(frame(&[id(1, 1), id(2, 1)])).await;
            assert_eq!(acked(&mut session).await.1, [id(1, 1)]);
            drop(session);
            let mut session = join(&hub, 2).await;
            session.say(frame(&[id(1, 2), id(2, 2), id(3, 1)])).await;
            let mut deliveries = Vec::new();
            while deliveries.len() < 3 {
                let (command, more) = acked(&mut session).await;
                done(&mut session, &command, &more).await;
                deliveries.extend(more);
            }
            deliveries.sort();
            assert_eq!(deliveries, [id(1, 1), id(2, 1), id(3, 1)]);
        };
        let worker = async {
            let first = consumer.next().await.unwrap().unwrap();
            let second = consumer.next().await.unwrap().unwrap();
            assert_eq!(first.ack().await.unwrap(), Outcome::Done);
            let third = consumer.next().await.unwrap().unwrap();
            assert_eq!(third.delivery().id, id(3, 1));
            assert_eq!(second.ack().await.unwrap(), Outcome::Done);
            assert_eq!(third.ack().await.unwrap(), Outcome::Done);
        };
        tokio::join!(hub_side, worker);
    }

    #[tokio::test]
    async fn leaving_in_order_finishes_what_is_begun() {
        let (hub, client) = FakeHub::start().await;
        let mut consumer = client.consume("g").member("anna").credit(3).start();
        let mut session = join(&hub, 3).await;
        session.say(frame(&[id(1, 1), id(2, 1), id(3, 1)])).await;
        let begun = consumer.next().await.unwrap().unwrap();
        let hub_side = async {
            let (_, command) = session.command().await.unwrap();
            assert_eq!(command, Command::Credit(Credit { consumer: 7, credit: 0 }));
            // What was not begun is given back, and what was is acknowledged, in whatever order.
            let (mut back, mut worked) = (Vec::new(), Vec::new());
            while back.len() < 2 || worked.is_empty() {
                let (command, word) = session.command().await.unwrap();
                match word {
                    Command::Nack(Nack { deliveries, delay, .. }) => {
                        assert_eq!(delay.map(|delay| delay.0), Some(Duration::ZERO));
                        done(&mut session, &command, &deliveries).await;
                        back.extend(deliveries);
                    }
                    Command::Ack(ack) => {
                        done(&mut session, &command, &ack.deliveries).await;
                        worked.extend(ack.deliveries);
                    }
                    other => panic!("neither: {other:?}"),
                }
            }
            back.sort();
            assert_eq!((back, worked), (vec![id(2, 1), id(3, 1)], vec![id(1, 1)]));
            assert!(session.command().await.is_none());
        };
        let worker = async {
            let (closed, acked) = tokio::join!(consumer.close(), begun.ack());
            closed.unwrap();
            assert_eq!(acked.unwrap(), Outcome::Done);
        };
        tokio::join!(hub_side, worker);
    }

    #[tokio::test]
    async fn a_group_that_is_deleted_ends_it_with_the_reason() {
        let (hub, client) = FakeHub::start().await;
        let mut consumer = client.consume("g").member("anna").start();
        let mut session = join(&hub, 1).await;
        session.say(frame(&[id(1, 1)])).await;
        let delivery = consumer.next().await.unwrap().unwrap();
        let mut out = Vec::new();
        ended(&mut out, 7, &Problem::new(Kind::GroupNotFound, "x"));
        session.say(String::from_utf8(out).unwrap()).await;
        assert!(consumer.next().await.unwrap().unwrap_err().is_problem(Kind::GroupNotFound));
        assert!(consumer.next().await.is_none());
        assert!(delivery.ack().await.unwrap_err().is_problem(Kind::GroupNotFound));
        assert!(consumer.close().await.unwrap_err().is_problem(Kind::GroupNotFound));
    }
}
