//! What a log does for consumer groups: the cases of their creation, their steps, and what retention leaves them.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use std::time::Duration;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::contract::suite::{NOW, Suite, append, name, open, payloads};
use crate::engine::transaction::{Append, Op, Outcome, PutGroup, Record, Retention, StepGroup, TopicConfig};
use crate::error::Kind;
use crate::group::{GroupConfig, GroupName, GroupStep, Held, HeldState};
use crate::name::Filter;

fn group(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn config(filter: &str) -> GroupConfig {
    GroupConfig::new(Filter::parse(filter).unwrap())
}

fn put(text: &str, config: GroupConfig) -> Op {
    Op::PutGroup(PutGroup { group: group(text), config, start: Offset::ZERO })
}

fn step(text: &str, created: Offset, step: GroupStep) -> Op {
    Op::StepGroup(StepGroup { group: group(text), created, step })
}

fn leased(topic: &str) -> Held {
    Held { topic: name(topic), count: 1, state: HeldState::Leased, due: Timestamp(NOW.0 + 30_000) }
}

impl Suite {
    async fn put(&self, text: &str, config: GroupConfig) -> (bool, Offset) {
        match self.commit(vec![put(text, config)]).await.unwrap().pop() {
            Some(Outcome::GroupPut { new, created }) => (new, created),
            other => panic!("a group's creation was answered by {other:?}"),
        }
    }

    /// The group's changes, as the observer was told of them.
    fn steps(&self) -> Vec<GroupStep> {
        let records = self.seen.records.lock();
        let steps = records.iter().filter_map(|record| match record {
            Record::GroupStep { step, .. } => Some(GroupStep::clone(step)),
            _ => None,
        });
        steps.collect()
    }
}

pub(super) async fn a_group_is_created_once(suite: Suite) {
    let (new, created) = suite.put("g", config("work/#")).await;
    assert!(new);
    assert_eq!(suite.put("g", config("work/#")).await, (false, created));
    let slower = GroupConfig { ack_wait: Duration::from_secs(60), ..config("work/#") };
    assert_eq!(suite.put("g", slower).await, (false, created), "it can be set up differently");
    let other = suite.commit(vec![put("g", config("other/#"))]).await.unwrap_err();
    assert_eq!(other.kind(), &Kind::GroupExists);
    let twice = GroupConfig { dead_letter: Some(name("work/dead")), max_deliver: Some(3), ..config("work/#") };
    let refused = suite.commit(vec![put("h", twice)]).await.unwrap_err();
    assert_eq!(refused.kind(), &Kind::BadRequest, "dead letters must not come back into the group");
    suite.commit(vec![Op::DeleteGroup(group("g"), Some(created))]).await.unwrap();
    let gone = suite.commit(vec![Op::DeleteGroup(group("g"), None)]).await.unwrap_err();
    assert_eq!(gone.kind(), &Kind::GroupNotFound);
    let (new, again) = suite.put("g", config("other/#")).await;
    assert!(new && again > created);
}

pub(super) async fn a_groups_steps_are_kept(suite: Suite) {
    let (_, created) = suite.put("g", config("work/#")).await;
    suite.publish("work/a", &["1", "2"]).await;
    let offsets: Vec<Offset> = suite.all("work/a").await.iter().map(|message| message.offset).collect();
    let claim = GroupStep {
        claimed_through: offsets[1],
        held: offsets.iter().map(|offset| (*offset, leased("work/a"))).collect(),
        ..GroupStep::default()
    };
    suite.commit(vec![step("g", created, claim.clone())]).await.unwrap();
    let settle = GroupStep { settled: vec![offsets[0]], ..GroupStep::default() };
    suite.commit(vec![step("g", created, settle.clone())]).await.unwrap();
    // What is settled already, or was never claimed, is nothing to write.
    let again = GroupStep { settled: vec![offsets[0], Offset(offsets[1].0 + 900)], ..GroupStep::default() };
    suite.commit(vec![step("g", created, again)]).await.unwrap();
    assert_eq!(suite.steps(), [claim, settle]);
    let other_life = Offset(created.0 + 1);
    let stale = GroupStep { settled: vec![offsets[1]], ..GroupStep::default() };
    let refused = suite.commit(vec![step("g", other_life, stale)]).await.unwrap_err();
    assert_eq!(refused.kind(), &Kind::GroupNotFound);
}

pub(super) async fn a_step_and_an_append_are_one(suite: Suite) {
    let (_, created) = suite.put("g", config("work")).await;
    suite.publish("work", &["1"]).await;
    let offset = suite.all("work").await[0].offset;
    let claim = GroupStep { claimed_through: offset, held: vec![(offset, leased("work"))], ..GroupStep::default() };
    suite.commit(vec![step("g", created, claim)]).await.unwrap();
    suite.publish("dead", &["0"]).await;
    suite.append(Append { close: true, ..append("dead", &[]) }).await.unwrap();
    let settle = || step("g", created, GroupStep { settled: vec![offset], ..GroupStep::default() });
    let refused = suite.commit(vec![Op::Append(append("dead", &["1"])), settle()]).await.unwrap_err();
    assert!(matches!(refused.kind(), Kind::TopicClosed { .. }));
    assert_eq!(suite.steps().len(), 1, "what was not copied is not settled");
    let copy = Op::Append(Append { create: Some(open()), ..append("dead-2", &["1"]) });
    suite.commit(vec![copy, settle()]).await.unwrap();
    assert_eq!(suite.steps().len(), 2);
    assert_eq!(payloads(&suite.all("dead-2").await), ["1"]);
}

pub(super) async fn retention_leaves_what_a_group_needs(suite: Suite) {
    let keep = |retention| TopicConfig { retention, ..open() };
    suite.create("count", keep(Retention { count: Some(2), ..Retention::default() })).await;
    suite.create("bytes", keep(Retention { bytes: Some(200), ..Retention::default() })).await;
    suite.create("free", keep(Retention { count: Some(2), ..Retention::default() })).await;
    let (_, of_count) = suite.put("c", config("count")).await;
    suite.put("b", config("bytes")).await;
    for i in 0..6 {
        for topic in ["count", "bytes", "free"] {
            suite.append(append(topic, &[&i.to_string()])).await.unwrap();
        }
    }
    suite.maintained(|suite| suite.trims_of("free").1 == 4 && suite.trims_of("bytes").1 > 0).await;
    let kept = suite.all("count").await;
    assert_eq!(payloads(&kept), ["0", "1", "2", "3", "4", "5"], "nothing of it is settled");
    let claim = GroupStep {
        claimed_through: kept[5].offset,
        held: vec![(kept[1].offset, leased("count"))],
        ..GroupStep::default()
    };
    suite.commit(vec![step("c", of_count, claim)]).await.unwrap();
    suite.append(append("count", &["6"])).await.unwrap();
    suite.maintained(|suite| suite.trims_of("count").1 == 1).await;
    assert_eq!(payloads(&suite.all("count").await), ["1", "2", "3", "4", "5", "6"]);
    let settle = GroupStep { settled: vec![kept[1].offset], ..GroupStep::default() };
    suite.commit(vec![step("c", of_count, settle)]).await.unwrap();
    suite.append(append("count", &["7"])).await.unwrap();
    suite.maintained(|suite| suite.trims_of("count").1 == 6).await;
    assert_eq!(payloads(&suite.all("count").await), ["6", "7"], "the last is claimed by nobody yet");
}
