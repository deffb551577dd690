//! What a consumer has in its hands, and what it still has to say about it. It sends nothing itself.
//!
//! A message comes into the hands when it is taken, and leaves them when it is given back, or when its acknowledgement
//! is answered. Until then a repetition of it is not passed on: after a break the hub hands out again what this very
//! consumer is still working on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use quintet_wire::duration::Span;
use quintet_wire::groups::{Answered, Delivered, DeliveryId, Outcome};
use quintet_wire::problem::object::Problem;
use quintet_wire::session::command::Command;
use quintet_wire::session::groups::{Ack, Extend, Nack};
use quintet_wire::token::Token;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};
use crate::limits::{WINDOW_BATCHES_MAX, WORDS_MAX};

/// Something to be said about a delivery.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) id: DeliveryId,
    pub(crate) say: Say,
    pub(crate) answer: Option<oneshot::Sender<Result<Outcome, Error>>>,
}

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Ack,
    Nack(Option<Duration>),
    Extend(Option<Duration>),
}

impl Word {
    fn answer(self, result: Result<Outcome, Error>) {
        if let Some(answer) = self.answer {
            // Whoever does not wait any more does not want to know.
            answer.send(result).ok();
        }
    }
}

/// What a consumer has and has to say.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    // Not taken yet, in order.
    ready: VecDeque<Token>,
    waiting: HashMap<Token, Delivered>,
    // Taken, with the newest count of each.
    held: HashMap<Token, u32>,
    unsent: VecDeque<Word>,
    // Not answered yet, by the command's id.
    under_way: BTreeMap<u64, Vec<Word>>,
}

impl Hands {
    /// Puts a delivery among those that can be taken, unless its message is in hands already.
    pub(crate) fn receive(&mut self, delivered: Delivered) {
        let DeliveryId { message, count } = delivered.delivery.id;
        if let Some(held) = self.held.get_mut(&message) {
            *held = count.max(*held);
        } else if self.waiting.insert(message, delivered).is_none() {
            self.ready.push_back(message);
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the next delivery into hands.
    pub(crate) fn take(&mut self) -> Option<Delivered> {
        let delivered = self.waiting.remove(&self.ready.pop_front()?)?;
        let DeliveryId { message, count } = delivered.delivery.id;
        self.held.insert(message, count);
        Some(delivered)
    }

    /// Gives back at once what was not taken.
    pub(crate) fn decline(&mut self) {
        for message in std::mem::take(&mut self.ready) {
            if let Some(delivered) = self.waiting.remove(&message) {
                let (id, say) = (delivered.delivery.id, Say::Nack(Some(Duration::ZERO)));
                self.unsent.push_back(Word { id, say, answer: None });
            }
        }
    }

    /// Notes what is to be said.
    pub(crate) fn say(&mut self, mut word: Word) {
        if matches!(word.say, Say::Nack(_)) {
            word.id.count = self.held.remove(&word.id.message).unwrap_or(word.id.count);
        }
        self.unsent.push_back(word);
    }

    /// The next command, which counts as sent with this id.
    pub(crate) fn next_command(&mut self, consumer: u64, id: impl FnOnce() -> u64) -> Option<(u64, Command)> {
        let say = self.unsent.front().filter(|_| self.under_way.len() < WINDOW_BATCHES_MAX)?.say;
        let n_words = self.unsent.iter().take(WORDS_MAX).take_while(|word| word.say == say).count();
        let mut words: Vec<Word> = self.unsent.drain(..n_words).collect();
        if let Say::Extend(_) = say {
            for DeliveryId { message, count } in words.iter_mut().map(|word| &mut word.id) {
                *count = self.held.get(message).copied().unwrap_or(*count);
            }
        }
        let deliveries = words.iter().map(|word| word.id).collect();
        let id = id();
        self.under_way.insert(id, words);
        Some((
            id,
            match say {
                Say::Ack => Command::Ack(Ack { consumer, deliveries }),
                Say::Nack(delay) => Command::Nack(Nack { consumer, deliveries, delay: delay.map(Span) }),
                Say::Extend(by) => Command::Extend(Extend { consumer, deliveries, by: by.map(Span) }),
            },
        ))
    }

    /// Whether a command with this id waits for its answer.
    pub(crate) fn waits_for(&self, id: u64) -> bool {
        self.under_way.contains_key(&id)
    }

    /// The hub has answered a command.
    pub(crate) fn answered(&mut self, id: u64, results: &[Answered]) {
        for (n, word) in self.under_way.remove(&id).unwrap_or_default().into_iter().enumerate() {
            let result = results.get(n).filter(|answered| answered.id == word.id).map(|answered| answered.result);
            let result = result.ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub answered something else"));
            self.end(word, result);
        }
    }

    /// The hub refused a command. Tells whether it is to be said again, later.
    pub(crate) fn refused(&mut self, id: u64, problem: &Problem) -> bool {
        let words = self.under_way.remove(&id).unwrap_or_default();
        if problem.is_retryable() {
            words.into_iter().rev().for_each(|word| self.unsent.push_front(word));
            return true;
        }
        words.into_iter().for_each(|word| self.end(word, Err(Error::refused(problem.clone(), None))));
        false
    }

    /// The connection is gone: what was not answered is to be said again, and what was not taken is others' now.
    pub(crate) fn broke(&mut self) {
        self.ready.clear();
        self.waiting.clear();
        let words = std::mem::take(&mut self.under_way).into_values().flatten();
        let unsent = std::mem::take(&mut self.unsent);
        self.unsent = words.chain(unsent).collect();
    }

    /// Whether nothing is in hands, and nothing has to be said.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.unsent.is_empty() && self.under_way.is_empty()
    }

    fn end(&mut self, word: Word, result: Result<Outcome, Error>) {
        if word.say == Say::Ack {
            self.held.remove(&word.id.message);
        }
        word.answer(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_wire::envelope::{Envelope, Headers};
    use quintet_wire::groups::Delivery;
    use quintet_wire::payload::Body;
    use quintet_wire::problem::kind::Kind;

    fn id(offset: u64, count: u32) -> DeliveryId {
        DeliveryId { message: Token { log: 1, offset }, count }
    }

    fn delivered(offset: u64, count: u32) -> Delivered {
        let id = id(offset, count);
        let (topic, previous) = ("t".to_owned(), Token { log: 1, offset: 0 });
        let (headers, body) = (Headers::new(), Body::text("x"));
        let message = Envelope { topic, offset: id.message, previous, time_ms: 0, headers, body };
        Delivered { message, delivery: Delivery { id, count, reason: "new".into(), until: 0 } }
    }

    fn taken(hands: &mut Hands) -> Option<DeliveryId> {
        hands.take().map(|delivered| delivered.delivery.id)
    }

    fn say(hands: &mut Hands, offset: u64, say: Say) -> oneshot::Receiver<Result<Outcome, Error>> {
        let (to, answer) = oneshot::channel();
        hands.say(Word { id: id(offset, 1), say, answer: Some(to) });
        answer
    }

    fn acks(hands: &mut Hands, command: u64) -> Vec<DeliveryId> {
        match hands.next_command(7, || command) {
            Some((_, Command::Ack(ack))) => ack.deliveries,
            other => panic!("no ack: {other:?}"),
        }
    }

    #[test]
    fn what_is_worked_on_does_not_come_a_second_time() {
        let mut hands = Hands::default();
        hands.receive(delivered(1, 1));
        hands.receive(delivered(2, 1));
        assert_eq!(taken(&mut hands), Some(id(1, 1)));
        hands.broke();
        hands.receive(delivered(1, 2));
        hands.receive(delivered(2, 2));
        assert_eq!((taken(&mut hands), taken(&mut hands)), (Some(id(2, 2)), None));
        // It is given back as what it is now, and then may come again.
        drop(say(&mut hands, 1, Say::Nack(None)));
        let (_, command) = hands.next_command(7, || 1).unwrap();
        let nack = Nack { consumer: 7, deliveries: vec![id(1, 2)], delay: None };
        assert_eq!(command, Command::Nack(nack));
        hands.receive(delivered(1, 3));
        assert_eq!(taken(&mut hands), Some(id(1, 3)));
    }

    #[test]
    fn what_was_not_answered_is_said_again_in_order() {
        let mut hands = Hands::default();
        (1..=3).for_each(|offset| hands.receive(delivered(offset, 1)));
        while hands.take().is_some() {}
        let mut first = say(&mut hands, 1, Say::Ack);
        assert_eq!(acks(&mut hands, 5), [id(1, 1)]);
        let _second = say(&mut hands, 2, Say::Ack);
        assert_eq!(acks(&mut hands, 6), [id(2, 1)]);
        let _third = say(&mut hands, 3, Say::Ack);
        hands.broke();
        assert!(!hands.waits_for(5) && !hands.is_empty());
        hands.receive(delivered(1, 2));
        assert!(!hands.has_ready(), "its acknowledgement is under way");
        assert_eq!(acks(&mut hands, 1), [id(1, 1), id(2, 1), id(3, 1)]);
        assert!(first.try_recv().is_err());
        let done = |offset| Answered { id: id(offset, 1), result: Outcome::Done };
        hands.answered(1, &[done(1), done(2), done(3)]);
        assert_eq!(first.try_recv().unwrap().unwrap(), Outcome::Done);
        assert!(hands.is_empty());
    }

    #[test]
    fn refusals_that_pass_are_waited_out() {
        let mut hands = Hands::default();
        hands.receive(delivered(1, 1));
        hands.take();
        let mut answer = say(&mut hands, 1, Say::Ack);
        acks(&mut hands, 1);
        assert!(hands.refused(1, &Problem::new(Kind::Overloaded, "x")));
        acks(&mut hands, 2);
        assert!(!hands.refused(2, &Problem::new(Kind::GroupNotFound, "x")));
        assert!(answer.try_recv().unwrap().unwrap_err().is_problem(Kind::GroupNotFound));
        assert!(hands.is_empty());
    }

    #[test]
    fn what_was_not_taken_is_given_back() {
        let mut hands = Hands::default();
        hands.receive(delivered(1, 1));
        hands.decline();
        let (_, command) = hands.next_command(7, || 1).unwrap();
        let delay = Some(Span(Duration::ZERO));
        assert_eq!(command, Command::Nack(Nack { consumer: 7, deliveries: vec![id(1, 1)], delay }));
        hands.answered(1, &[Answered { id: id(1, 1), result: Outcome::Done }]);
        assert!(hands.is_empty() && !hands.has_ready());
    }
}
