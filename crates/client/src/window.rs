//! The batches of a publisher that are not acknowledged, and what each answer means for them. It sends nothing: the
//! pipeline asks it for the next batch and tells it what came back.
//!
//! A batch keeps its sequence number until it is acknowledged, so that sending it again cannot store it twice. Only
//! when the hub no longer knows this producer's past do the numbers begin again, in a higher epoch.

use std::collections::VecDeque;

use quintet_wire::problem::kind::Kind;
use quintet_wire::problem::object::Problem;
use quintet_wire::session::command::{Command, Message, Producer, Publish};
use tokio::sync::OwnedSemaphorePermit;

#[derive(Debug)]
pub(crate) struct Window {
    topic: String,
    producer: Producer,
    batches: VecDeque<Batch>,
    // How many batches there ever were, and how many of them are acknowledged and gone.
    n_formed: u64,
    n_done: u64,
}

#[derive(Debug)]
struct Batch {
    publish: Command,
    seq: u64,
    n_messages: usize,
    // The command's id on the present connection; none when it was not sent on it.
    id: Option<u64>,
    acknowledged: bool,
    // Given back, by being dropped, when the batch is acknowledged.
    _permits: Option<OwnedSemaphorePermit>,
}

/// What a refusal asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is about a batch that was sent again since.
    Ignore,
    /// Send what is not acknowledged again, as it is.
    Resend,
    /// The same, but later.
    RetryLater,
    /// The numbers began again in a higher epoch: send what is not acknowledged. Batches that had been acknowledged
    /// may be lost (`lost`), or someone else took over this producer's id.
    Restarted {
        /// Whether the hub forgot batches it had acknowledged: the topic was lost or deleted.
        lost: bool,
    },
    /// Trying again cannot help.
    Fatal,
}

impl Window {
    pub(crate) fn new(topic: String, id: String, epoch: u64) -> Self {
        let producer = Producer { id, epoch, seq: 0 };
        Window { topic, producer, batches: VecDeque::new(), n_formed: 0, n_done: 0 }
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, messages: Vec<Message>, permits: Option<OwnedSemaphorePermit>) {
        let seq = self.producer.seq;
        let n_messages = messages.len();
        let producer = Some(self.producer.clone());
        let publish = Command::Publish(Publish {
            topic: self.topic.clone(),
            messages,
            producer,
            message_id: None,
            receipts: false,
            create: true,
        });
        self.batches.push_back(Batch { publish, seq, n_messages, id: None, acknowledged: false, _permits: permits });
        self.producer.seq += 1;
        self.n_formed += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many batches there ever were.
    pub(crate) fn n_formed(&self) -> u64 {
        self.n_formed
    }

    /// How many batches are acknowledged, counted up to the first that is not.
    pub(crate) fn n_done(&self) -> u64 {
        self.n_done
    }

    /// The first batch that was not sent on this connection, which counts as sent with this id from now on.
    pub(crate) fn next_unsent(&mut self, id: impl FnOnce() -> u64) -> Option<(u64, &Command)> {
        let batch = self.batches.iter_mut().find(|batch| batch.id.is_none() && !batch.acknowledged)?;
        let id = id();
        batch.id = Some(id);
        Some((id, &batch.publish))
    }

    /// The connection is a new one: nothing was sent on it yet.
    pub(crate) fn unsend(&mut self) {
        for batch in &mut self.batches {
            batch.id = None;
        }
    }

    /// The hub has this batch. Tells how many messages were in it, unless it is not known.
    pub(crate) fn acknowledged(&mut self, id: u64) -> Option<usize> {
        let batch = self.batches.iter_mut().find(|batch| batch.id == Some(id))?;
        batch.acknowledged = true;
        let n_messages = batch.n_messages;
        while self.batches.front().is_some_and(|batch| batch.acknowledged) {
            self.batches.pop_front();
            self.n_done += 1;
        }
        Some(n_messages)
    }

    /// The hub refused this batch.
    pub(crate) fn refused(&mut self, id: u64, problem: &Problem) -> Verdict {
        let Some(batch) = self.batches.iter().find(|batch| batch.id == Some(id)) else { return Verdict::Ignore };
        let member = |name: &str| problem.members.get(name).and_then(serde_json::Value::as_u64);
        match problem.kind {
            Kind::StaleProducerEpoch => {
                self.restart(member("epoch").unwrap_or(self.producer.epoch));
                Verdict::Restarted { lost: false }
            }
            Kind::ProducerGap => {
                let first = self.batches.front().map_or(batch.seq, |first| first.seq);
                if member("expected").is_some_and(|expected| expected >= first) {
                    // A batch before this one was refused for a while; all from there on go again, in order.
                    self.unsend();
                    return Verdict::Resend;
                }
                self.restart(self.producer.epoch);
                Verdict::Restarted { lost: true }
            }
            _ if problem.is_retryable() => Verdict::RetryLater,
            _ => Verdict::Fatal,
        }
    }

    /// Begins a higher epoch than this one, in which what is not acknowledged has the first numbers.
    fn restart(&mut self, epoch: u64) {
        self.producer.epoch = self.producer.epoch.max(epoch) + 1;
        self.producer.seq = 0;
        // An acknowledged batch among them (answers may overtake one another) must not be stored again.
        self.n_done += self.batches.iter().filter(|batch| batch.acknowledged).count() as u64;
        self.batches.retain(|batch| !batch.acknowledged);
        for batch in &mut self.batches {
            batch.seq = self.producer.seq;
            batch.id = None;
            if let Command::Publish(publish) = &mut batch.publish {
                publish.producer = Some(self.producer.clone());
            }
            self.producer.seq += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_wire::payload::Body;

    fn window(n_batches: u64) -> Window {
        let mut window = Window::new("t".into(), "p".into(), 3);
        for i in 0..n_batches {
            window.push(vec![Body::text(i.to_string()).into()], None);
        }
        window
    }

    /// Sends all there is, with ids from `id` on, and tells epoch, sequence and text of each.
    fn send(window: &mut Window, mut id: u64) -> Vec<(u64, u64, String)> {
        let mut sent = Vec::new();
        while let Some((_, command)) = window.next_unsent(|| id) {
            let Command::Publish(publish) = command else { panic!("not a publish") };
            let producer = publish.producer.as_ref().unwrap();
            let text = String::from_utf8(publish.messages[0].body.bytes.to_vec()).unwrap();
            sent.push((producer.epoch, producer.seq, text));
            id += 1;
        }
        sent
    }

    fn expected(epoch: u64, numbered: &[(u64, &str)]) -> Vec<(u64, u64, String)> {
        numbered.iter().map(|(seq, text)| (epoch, *seq, (*text).to_owned())).collect()
    }

    fn problem(kind: Kind, name: &str, value: u64) -> Problem {
        Problem::new(kind, "x").with(name, value)
    }

    #[test]
    fn a_reconnection_sends_the_same_numbers_again() {
        let mut window = window(3);
        assert_eq!(send(&mut window, 1), expected(3, &[(0, "0"), (1, "1"), (2, "2")]));
        assert_eq!(window.acknowledged(1), Some(1));
        assert_eq!((window.n_done(), window.len()), (1, 2));
        window.unsend();
        assert_eq!(window.acknowledged(2), None, "an answer on the old connection");
        assert_eq!(send(&mut window, 1), expected(3, &[(1, "1"), (2, "2")]));
    }

    #[test]
    fn answers_may_overtake_one_another() {
        let mut window = window(2);
        send(&mut window, 1);
        window.acknowledged(2);
        assert_eq!((window.n_done(), window.len()), (0, 2));
        window.acknowledged(1);
        assert_eq!((window.n_done(), window.len()), (2, 0));
    }

    #[test]
    fn a_lost_topic_gets_what_is_not_acknowledged_in_a_new_epoch() {
        let mut window = window(3);
        send(&mut window, 1);
        window.acknowledged(1);
        let gap = problem(Kind::ProducerGap, "expected", 0);
        assert_eq!(window.refused(2, &gap), Verdict::Restarted { lost: true });
        assert_eq!(window.refused(3, &gap), Verdict::Ignore, "it was under way when the epoch rose");
        window.push(vec![Body::text("3").into()], None);
        assert_eq!(send(&mut window, 10), expected(4, &[(0, "1"), (1, "2"), (2, "3")]));
    }

    #[test]
    fn a_gap_behind_a_passing_refusal_is_no_loss() {
        let mut window = window(3);
        send(&mut window, 1);
        assert_eq!(window.refused(1, &Problem::new(Kind::Overloaded, "x")), Verdict::RetryLater);
        assert_eq!(window.refused(2, &problem(Kind::ProducerGap, "expected", 0)), Verdict::Resend);
        assert_eq!(window.refused(3, &problem(Kind::ProducerGap, "expected", 0)), Verdict::Ignore);
        assert_eq!(send(&mut window, 10), expected(3, &[(0, "0"), (1, "1"), (2, "2")]));
    }

    #[test]
    fn a_stale_epoch_is_raised_above_the_hubs() {
        let mut window = window(1);
        send(&mut window, 1);
        let stale = problem(Kind::StaleProducerEpoch, "epoch", 8);
        assert_eq!(window.refused(1, &stale), Verdict::Restarted { lost: false });
        assert_eq!(send(&mut window, 2), expected(9, &[(0, "0")]));
        assert_eq!(window.refused(2, &Problem::new(Kind::TopicClosed, "x")), Verdict::Fatal);
    }
}
