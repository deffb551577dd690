//! What a store holds of consumer groups when it is opened again, after closing and after a power cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Op, Outcome, PutGroup, Record, StepGroup, TopicState, Transaction};
use quintet_core::engine::{Engine, Observer, Trimmed};
use quintet_core::group::{GroupConfig, GroupCounts, GroupName, GroupState, GroupStep, Held, HeldState, Why};
use quintet_core::name::{Filter, TopicName};
use quintet_store::disk::Disk;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;
use quintet_store::{Store, StoreConfig};

use crate::harness::{NOW, Open, append, tiny};

/// Folds what it is told of groups.
#[derive(Default)]
struct Groups(Mutex<BTreeMap<TopicName, (Offset, GroupState)>>);

impl Observer for Groups {
    fn restored(&self, _: &TopicName, _: &TopicState) {}

    fn group_restored(&self, topic: &TopicName, created: Offset, state: &GroupState) {
        self.0.lock().insert(topic.clone(), (created, state.clone()));
    }

    fn committed(&self, records: &[Record], _through: Offset) {
        let mut groups = self.0.lock();
        let mut created = Offset::ZERO;
        for record in records {
            match record {
                Record::Created { offset, .. } => created = *offset,
                Record::Group { topic, config, start, .. } => {
                    let new = || (created, GroupState::new(Arc::clone(config), *start));
                    groups.entry(topic.clone()).or_insert_with(new).1.config = Arc::clone(config);
                }
                Record::GroupStep { topic, step, .. } => {
                    if let Some((_, group)) = groups.get_mut(topic) {
                        group.claimed_through = group.claimed_through.max(step.claimed_through);
                        group.redriven_through = group.redriven_through.max(step.redriven_through);
                        group.counts = step.counts;
                        group.held.extend(step.held.iter().cloned());
                        step.settled.iter().for_each(|offset| drop(group.held.remove(offset)));
                    }
                }
                Record::Deleted { topic, .. } => drop(groups.remove(topic)),
                _ => {}
            }
        }
    }

    fn trimmed(&self, _: &TopicName, _: Trimmed) {}
}

fn group(n: u64) -> GroupName {
    GroupName::parse(&format!("g{n}")).unwrap()
}

/// One random change of one of three groups.
fn random_op(random: &mut Random, groups: &Groups) -> Op {
    let name = group(random.below(3));
    let known = groups.0.lock().get(name.topic()).cloned();
    let Some((created, state)) = known else {
        let config = GroupConfig { key: Some("k".into()), ..GroupConfig::new(Filter::parse("work/#").unwrap()) };
        return Op::PutGroup(PutGroup { group: name, config, start: Offset(random.below(5)) });
    };
    match random.below(20) {
        0 => Op::DeleteGroup(name, Some(created)),
        1 => {
            let ack_wait = Duration::from_millis(100 + random.below(5_000));
            let config = GroupConfig { ack_wait, ..GroupConfig::clone(&state.config) };
            Op::PutGroup(PutGroup { group: name, config, start: Offset::ZERO })
        }
        2..8 => {
            let settled = state.held.keys().copied().filter(|_| random.below(2) == 0).collect();
            let counts = GroupCounts { acknowledged: state.counts.acknowledged + 1, ..state.counts };
            let step = GroupStep { settled, counts, ..GroupStep::default() };
            Op::StepGroup(StepGroup { group: name, created, step })
        }
        _ => {
            let first = state.claimed_through.0 + 1;
            let last = first + random.below(4);
            let waiting = [HeldState::Leased, HeldState::Waiting(Why::Nack)][random.below(2) as usize];
            let held = |offset| {
                let topic = TopicName::parse(&format!("work/{}", offset % 2)).unwrap();
                (Offset(offset), Held { topic, count: 1, state: waiting, due: Timestamp(NOW.0 + offset) })
            };
            let counts = GroupCounts { delivered: state.counts.delivered + 1, ..state.counts };
            let held = (first..=last).map(held).collect();
            let redriven_through = Offset(random.below(90));
            let step =
                GroupStep { claimed_through: Offset(last), held, redriven_through, counts, ..GroupStep::default() };
            Op::StepGroup(StepGroup { group: name, created, step })
        }
    }
}

/// Works for some rounds, each in a store that is opened anew, and compares what it holds with what was acknowledged.
async fn work(seed: u64, cut: bool) {
    let mut disk = FaultyDisk::new();
    let mut random = Random(seed);
    let mut expected = BTreeMap::new();
    for _ in 0..5 {
        let store = Store::open_on(Arc::new(disk.clone()), &tiny()).unwrap();
        let groups = Arc::new(Groups::default());
        store.attach(Arc::<Groups>::clone(&groups)).unwrap();
        assert_eq!(*groups.0.lock(), expected, "seed {seed}");
        for i in 0..60 {
            let op = random_op(&mut random, &groups);
            let outcome = store.commit(op.into(), NOW).await.unwrap().pop();
            assert!(outcome.is_some_and(|outcome| !matches!(outcome, Outcome::Appended(_))));
            if i % 7 == 0 {
                let message = quintet_core::engine::transaction::Append {
                    create: Some(crate::harness::open_config()),
                    ..append("work/0", &["x"])
                };
                store.commit(Op::Append(message).into(), NOW).await.unwrap();
                store.maintain(NOW);
            }
        }
        expected = groups.0.lock().clone();
        if cut {
            drop(store);
            disk = disk.after_crash(&mut random);
        } else {
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn groups_are_there_after_closing() {
    for seed in 0..10 {
        work(seed, false).await;
    }
}

#[tokio::test]
async fn groups_are_there_after_a_power_cut() {
    for seed in 0..10 {
        work(seed, true).await;
    }
}

/// A store with a group that has made three claims, the second of them together with a message.
async fn three_claims() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let config = StoreConfig { segment_bytes: 1 << 20, ..tiny() };
    let open = Open::on(&disk, &config).unwrap();
    let put =
        PutGroup { group: group(0), config: GroupConfig::new(Filter::parse("work/#").unwrap()), start: Offset::ZERO };
    let Outcome::GroupPut { created, .. } = open.commit(Op::PutGroup(put)).await.unwrap() else { panic!("a group") };
    let claim = |offset: u64, topic: &str| {
        let topic = TopicName::parse(topic).unwrap();
        let held = Held { topic, count: 1, state: HeldState::Leased, due: NOW };
        let held = vec![(Offset(offset), held)];
        let step = GroupStep { claimed_through: Offset(offset), held, ..GroupStep::default() };
        Op::StepGroup(StepGroup { group: group(0), created, step })
    };
    open.commit(claim(10, "work/first")).await.unwrap();
    let ops = vec![Op::Append(append("other", &["the-copy"])), claim(20, "work/second")];
    open.store.commit(Transaction { ops }, NOW).await.unwrap();
    open.commit(claim(30, "work/third")).await.unwrap();
    open.publish("other", &["last"]).await.unwrap();
    disk.copy()
}

/// Flips two bits of what stands in the log, since one would be turned back, and tells the group as it is read back.
fn read_without(disk: &FaultyDisk, text: &str) -> GroupState {
    let (name, length) = disk.files().into_iter().find(|(name, _)| name.ends_with(".log")).unwrap();
    let mut bytes = vec![0; length];
    disk.open(&name).unwrap().read_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let disk = disk.copy();
    disk.flip(&name, at, 0);
    disk.flip(&name, at + 3, 5);
    let store = Store::open_on(Arc::new(disk), &tiny()).unwrap();
    let groups = Arc::new(Groups::default());
    store.attach(Arc::<Groups>::clone(&groups)).unwrap();
    let (_, state) = groups.0.lock().get(group(0).topic()).cloned().unwrap();
    state
}

#[tokio::test]
async fn a_step_beside_a_broken_message_is_kept() {
    let state = read_without(&three_claims().await, "the-copy");
    assert_eq!(state.claimed_through, Offset(30));
    assert_eq!(state.held.len(), 3);
}

#[tokio::test]
async fn what_a_lost_claim_held_is_claimed_again() {
    let state = read_without(&three_claims().await, "work/second");
    let held: Vec<u64> = state.held.keys().map(|offset| offset.0).collect();
    assert_eq!((state.claimed_through, held), (Offset(10), vec![10, 30]));
}
