//! Consumer groups against a model: whatever members do, and however often the hub is started anew, each message is
//! settled exactly once or becomes a dead letter, and messages of a key are handed out in order, one at a time.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

#[path = "support/groups.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use quintet_core::clock::Clock;
use quintet_core::error::Kind;
use quintet_core::group::{GroupConfig, Why};
use quintet_core::limits::Limits;
use quintet_core::patterns::publish_subscribe::groups::consumer::{Answer, Handed};
use quintet_core::patterns::publish_subscribe::groups::operate::Membership;

use crate::support::{Basket, Flaky, TokioClock, Work, group, name, over, text};

const MAX_DELIVER: u32 = 3;
const ACK_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Act {
    /// Publish with one of some keys; 0 is none.
    Publish(u8),
    /// Claim under one of some names.
    Claim(u8, u32),
    Join(u32),
    Leave(usize),
    Ack(usize),
    Nack(usize, u64),
    Extend(usize),
    /// Let time pass, in seconds.
    Pass(u64),
    Restart,
    Redrive,
    /// The next change cannot be written.
    Fail,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..4_u8).prop_map(Act::Publish),
        4 => (0..3_u8, 1..5_u32).prop_map(|(member, max)| Act::Claim(member, max)),
        1 => (1..5_u32).prop_map(Act::Join),
        1 => any::<usize>().prop_map(Act::Leave),
        6 => any::<usize>().prop_map(Act::Ack),
        3 => (any::<usize>(), 0..20_u64).prop_map(|(which, delay)| Act::Nack(which, delay)),
        1 => any::<usize>().prop_map(Act::Extend),
        2 => (0..15_u64).prop_map(Act::Pass),
        1 => Just(Act::Restart),
        1 => Just(Act::Redrive),
        2 => Just(Act::Fail),
    ]
}

/// What the model knows.
struct Model {
    work: Work,
    engine: Arc<Flaky>,
    clock: Arc<TokioClock>,
    n_published: usize,
    /// By text: the key.
    keys: BTreeMap<String, u8>,
    /// By text: the newest delivery, and until when it is in somebody's hands.
    hands: BTreeMap<String, Handed>,
    /// Of these, what was claimed, and so stays in hands until its time is up.
    claimed: BTreeSet<String>,
    /// How often each was handed out since it was published or redriven.
    counts: BTreeMap<String, u32>,
    acknowledged: BTreeSet<String>,
    members: Vec<(Basket, Membership)>,
}

impl Model {
    async fn new() -> Self {
        let engine = Flaky::new();
        let clock = Arc::new(TokioClock::default());
        let work = Work::on(Arc::<Flaky>::clone(&engine), Arc::<TokioClock>::clone(&clock), Limits::default());
        let config = GroupConfig {
            ack_wait: ACK_WAIT,
            max_deliver: Some(MAX_DELIVER),
            backoff: vec![Duration::from_secs(1)],
            dead_letter: Some(name("dead")),
            key: Some("key".into()),
            in_flight: 6,
            ..over("work/#")
        };
        work.put(config).await;
        Self {
            work,
            engine,
            clock,
            n_published: 0,
            keys: BTreeMap::new(),
            hands: BTreeMap::new(),
            claimed: BTreeSet::new(),
            counts: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            members: Vec::new(),
        }
    }

    /// Checks what was handed out and takes note of it.
    fn receive(&mut self, handed: Handed) {
        let what = text(&handed.message.payload);
        assert!(!self.acknowledged.contains(&what), "{what} was settled before");
        let count = self.counts.entry(what.clone()).or_default();
        if handed.why == Why::Redrive {
            *count = 0;
        }
        *count += 1;
        assert_eq!(handed.count, *count, "{what} counts its deliveries");
        assert!(handed.count <= MAX_DELIVER);
        let key = self.keys[&what];
        if key > 0 {
            let others = self.keys.iter().filter(|(other, k)| **k == key && **other != what);
            for (other, _) in others.map(|(other, _)| (other.clone(), ())).collect::<Vec<_>>() {
                let before = number(&other) < number(&what);
                let has_begun = self.counts.get(&other).is_some_and(|n| *n > 0);
                let is_over = self.acknowledged.contains(&other) || self.counts.get(&other) == Some(&MAX_DELIVER);
                let now = self.clock.now();
                let is_held = self.hands.get(&other).is_some_and(|other| other.until > now);
                assert!(
                    !(is_held && self.claimed.contains(&other)),
                    "{what} came while {other} was in somebody's hands"
                );
                // A dead letter that is tried again comes late, and that is what was asked for.
                if handed.why != Why::Redrive && handed.count == 1 && before {
                    assert!(has_begun && is_over, "{what} came before {other} of its key was settled");
                }
            }
        }
        self.claimed.remove(&what);
        self.hands.insert(what, handed);
    }

    fn take(&mut self, claimed: Vec<Handed>) {
        for handed in claimed {
            let what = text(&handed.message.payload);
            self.receive(handed);
            self.claimed.insert(what);
        }
    }

    /// Waits until the group has nothing more to do now, and takes what connected members got.
    async fn settle(&mut self) {
        for _ in 0..3 {
            self.work.info().await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        let mut taken: Vec<Handed> = self.members.iter().flat_map(|(basket, _)| basket.take()).collect();
        // In the order in which they were handed out.
        taken.sort_by_key(|handed| (handed.until, handed.count));
        taken.into_iter().for_each(|handed| self.receive(handed));
    }

    fn pick(&self, which: usize) -> Option<Handed> {
        let n = self.hands.len();
        self.hands.values().nth(which.checked_rem(n)?).cloned()
    }

    async fn acknowledge(&mut self, handed: &Handed) {
        let what = text(&handed.message.payload);
        let said = match self.work.hub.acknowledge(&group(), vec![handed.id()]).await {
            Ok(said) => said,
            Err(error) => return assert_eq!(error.kind(), &Kind::StorageFull),
        };
        match said[0] {
            Answer::Done => assert!(self.acknowledged.insert(what.clone()), "{what} is settled once"),
            // It had become a dead letter.
            Answer::Settled => assert!(self.acknowledged.contains(&what) || self.counts[&what] == MAX_DELIVER),
            // It had become a dead letter and is tried again, with a count that begins anew.
            Answer::Unknown if self.counts[&what] == MAX_DELIVER => {}
            other => panic!("{what} was handed out, but its acknowledgement is {other:?}"),
        }
        self.hands.remove(&what);
    }

    async fn play(&mut self, act: Act) {
        match act {
            Act::Publish(key) => {
                let what = self.n_published.to_string();
                self.n_published += 1;
                self.keys.insert(what.clone(), key);
                let key_text = if key == 0 { String::new() } else { key.to_string() };
                self.work.publish_keyed(&format!("work/{}", self.n_published % 2), &key_text, &[&what]).await;
            }
            Act::Claim(member, max) => {
                let member = if member == 0 { String::new() } else { member.to_string() };
                let claimed = self.work.claim(&member, max, Duration::from_millis(10)).await;
                self.take(claimed);
            }
            Act::Join(limit) => {
                let basket = Basket::with_room(usize::MAX);
                let sink = Box::new(basket.clone());
                let membership = self.work.hub.consume(&group(), "connected", limit, sink).await.unwrap();
                self.members.push((basket, membership));
            }
            Act::Leave(which) => {
                if let Some(which) = which.checked_rem(self.members.len()) {
                    self.settle().await;
                    drop(self.members.remove(which));
                }
            }
            Act::Ack(which) => {
                if let Some(handed) = self.pick(which) {
                    self.acknowledge(&handed).await;
                }
            }
            Act::Nack(which, delay) => {
                if let Some(handed) = self.pick(which) {
                    let delay = Some(Duration::from_secs(delay));
                    let Ok(said) = self.work.hub.give_back(&group(), vec![handed.id()], delay).await else { return };
                    assert!(said != [Answer::Unknown] || handed.count == MAX_DELIVER);
                    self.hands.remove(&text(&handed.message.payload));
                }
            }
            Act::Extend(which) => {
                if let Some(handed) = self.pick(which) {
                    let Ok(said) = self.work.hub.extend(&group(), vec![handed.id()], None).await else { return };
                    assert!(said != [Answer::Unknown] || handed.count == MAX_DELIVER);
                }
            }
            Act::Pass(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Act::Restart => {
                self.settle().await;
                self.members.clear();
                let engine = Arc::<Flaky>::clone(&self.engine);
                self.work = Work::on(engine, Arc::<TokioClock>::clone(&self.clock), Limits::default());
            }
            Act::Redrive => {
                // It may meet the failure.
                drop(self.work.hub.redrive(&group()).await);
            }
            Act::Fail => self.engine.fails.store(true, Ordering::Relaxed),
        }
        self.settle().await;
    }

    /// In the end everything is worked off, and accounted for.
    async fn finish(mut self) {
        self.members.clear();
        self.engine.fails.store(false, Ordering::Relaxed);
        loop {
            let claimed = self.work.claim("last", 9, Duration::from_secs(40)).await;
            if claimed.is_empty() {
                break;
            }
            for handed in claimed {
                self.receive(handed.clone());
                self.acknowledge(&handed).await;
            }
        }
        let info = self.work.info().await;
        assert_eq!((info.lag, info.in_flight, info.waiting), (0, 0, 0), "nothing is left: {info:?}");
        let dead: BTreeSet<String> = self.work.texts_of("dead").await.into_iter().collect();
        for i in 0..self.n_published {
            let what = i.to_string();
            let both = (self.acknowledged.contains(&what), dead.contains(&what));
            assert!(both.0 || both.1, "{what} was lost");
        }
        assert_eq!(info.counts.acknowledged, self.acknowledged.len() as u64);
        assert_eq!(info.counts.lost, 0);
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn each_message_is_settled_once_or_dead(acts in proptest::collection::vec(act(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for act in acts {
                model.play(act).await;
            }
            model.finish().await;
        });
    }
}
