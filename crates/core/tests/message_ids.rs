//! Message ids against a model: whatever is published, refused, deleted and repeated, a repeat within the window is
//! answered with the first one, and nothing else is taken for a repeat.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::ledger::Ledger;
use quintet_core::engine::transaction::{Append, Delete, Op, Outcome, Record, TopicConfig, Transaction};
use quintet_core::error::Kind;
use quintet_core::limits::{Limits, MESSAGE_ID_OVERHEAD_BYTES};
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::TopicName;

const WINDOW: Duration = Duration::from_millis(50);
/// All ids have one letter.
const ROOM: usize = 12;

fn limits() -> Limits {
    let message_id_bytes = ROOM * (MESSAGE_ID_OVERHEAD_BYTES + 1);
    Limits { message_id_window: WINDOW, message_id_bytes, ..Limits::default() }
}

#[derive(Debug, Clone)]
enum Step {
    /// Publishes with these ids in these topics, in one transaction, which may end in something that is refused.
    Publish {
        publishes: Vec<(u8, Option<u8>)>,
        refused: bool,
    },
    Delete {
        topic: u8,
    },
    Pass {
        ms: u64,
    },
    /// The last transactions could not be written.
    Rollback,
    Commit,
    /// The state goes through a checkpoint, or is read back from the log.
    Reopen {
        replay: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let publish = (0..3_u8, prop::option::weighted(0.9, 0..9_u8));
    prop_oneof![
        8 => (prop::collection::vec(publish, 1..4), prop::bool::weighted(0.1))
            .prop_map(|(publishes, refused)| Step::Publish { publishes, refused }),
        1 => (0..3_u8).prop_map(|topic| Step::Delete { topic }),
        3 => (0..40_u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Rollback),
        4 => Just(Step::Commit),
        1 => any::<bool>().prop_map(|replay| Step::Reopen { replay }),
    ]
}

fn topic(n: u8) -> TopicName {
    TopicName::parse(&format!("t{n}")).unwrap()
}

fn append(n: u8, id: Option<u8>) -> Op {
    Op::Append(Append {
        create: Some(TopicConfig::open(ContentType::octet_stream())),
        message_id: id.map(|id| id.to_string().into()),
        ..Append::new(topic(n), vec![NewMessage::default()])
    })
}

#[derive(Debug, Default, Clone)]
struct Model {
    /// By topic and id, when it was published and the tail behind it.
    known: HashMap<(u8, u8), (Timestamp, Offset)>,
    /// When each id that takes room was published.
    taken: Vec<Timestamp>,
}

impl Model {
    fn find(&self, key: (u8, u8), now: Timestamp) -> Option<Offset> {
        self.known.get(&key).filter(|(time, _)| now.since(*time) < WINDOW).map(|(_, tail)| *tail)
    }

    fn has_room(&self, now: Timestamp) -> bool {
        self.taken.iter().filter(|time| now.since(**time) < WINDOW).count() < ROOM
    }
}

struct Run {
    ledger: Ledger,
    log: Vec<Record>,
    now: Timestamp,
    model: Model,
    /// As of the last commit.
    committed: (Model, usize),
}

impl Run {
    fn publish(&mut self, publishes: &[(u8, Option<u8>)], refused: bool) {
        let mut ops: Vec<Op> = publishes.iter().map(|(n, id)| append(*n, *id)).collect();
        if refused {
            ops.push(Op::Append(Append::new(TopicName::parse("absent").unwrap(), vec![NewMessage::default()])));
        }
        // What the model expects of each publish; none if the whole is refused for want of room.
        let mut model = self.model.clone();
        let mut expected = Vec::new();
        for (n, id) in publishes {
            let known = id.and_then(|id| model.find((*n, id), self.now));
            let taken = id.is_none() || known.is_some() || model.has_room(self.now);
            expected.push((taken, known));
            if let (Some(id), None, true) = (id, known, taken) {
                model.taken.push(self.now);
                // Its tail is told by the answer; within the transaction it is found by this.
                model.known.insert((*n, *id), (self.now, Offset::ZERO));
            }
            if !taken {
                break;
            }
        }
        let result = self.ledger.stage(Transaction { ops }, self.now);
        if expected.iter().any(|(taken, _)| !taken) {
            assert_eq!(*result.unwrap_err().kind(), Kind::TooMany);
            return;
        }
        if refused {
            assert_eq!(*result.unwrap_err().kind(), Kind::TopicNotFound);
            return;
        }
        let staged = result.unwrap();
        self.model = model;
        for (((n, id), (_, known)), outcome) in publishes.iter().zip(expected).zip(&staged.outcomes) {
            let Outcome::Appended(appended) = outcome else { panic!("{outcome:?}") };
            assert_eq!(appended.duplicate, known.is_some());
            match (known, id.and_then(|id| self.model.known.get_mut(&(*n, id)))) {
                (None, Some((_, tail))) => *tail = appended.tail,
                (Some(_), Some((_, tail))) => assert_eq!(appended.tail, *tail),
                _ => {}
            }
        }
        self.log.extend(staged.records);
    }

    fn commit(&mut self) {
        self.ledger.commit();
        self.committed = (self.model.clone(), self.log.len());
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { publishes, refused } => self.publish(&publishes, refused),
            Step::Delete { topic: n } => {
                let delete = Op::Delete(Delete { topic: topic(n), created: None });
                if let Ok(staged) = self.ledger.stage(Transaction::from(delete), self.now) {
                    self.model.known.retain(|(topic, _), _| *topic != n);
                    self.log.extend(staged.records);
                }
            }
            Step::Pass { ms } => self.now = self.now.plus(Duration::from_millis(ms)),
            Step::Rollback => {
                self.ledger.rollback();
                self.model = self.committed.0.clone();
                self.log.truncate(self.committed.1);
            }
            Step::Commit => self.commit(),
            Step::Reopen { replay } => {
                self.commit();
                if replay {
                    self.ledger = Ledger::new(limits());
                    self.log.iter().for_each(|record| self.ledger.replay(record));
                    let times = self.log.iter().filter_map(|record| match record {
                        Record::MessageId { time, .. } => Some(*time),
                        _ => None,
                    });
                    // That of deleted topics is taken again.
                    self.model.taken = times.collect();
                } else {
                    self.ledger = Ledger::restore(self.ledger.snapshot(), limits());
                    // The room of what belonged to deleted topics is not kept.
                    self.model.taken = self.model.known.values().map(|(time, _)| *time).collect();
                }
                self.committed.0 = self.model.clone();
            }
        }
    }
}

proptest! {
    #[test]
    fn repeats_are_told_from_news(steps in prop::collection::vec(step(), 1..80)) {
        let (now, model) = (Timestamp(1_000_000), Model::default());
        let committed = (model.clone(), 0);
        let mut run = Run { ledger: Ledger::new(limits()), log: Vec::new(), now, model, committed };
        for step in steps {
            run.step(step);
        }
    }
}
