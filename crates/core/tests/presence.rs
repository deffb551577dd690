//! Presence: who comes, who stays, who leaves and when; and that a snapshot and what follows its cursor are one story.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use quintet_core::clock::{ManualClock, Timestamp};
use quintet_core::cursor::{LogId, Position, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::error::{Kind, Result};
use quintet_core::fanout::Delivery;
use quintet_core::following::Selection;
use quintet_core::hub::{Hub, HubConfig, ListTopics};
use quintet_core::limits::{Limits, PRESENCE_EMPTY_KEPT};
use quintet_core::message::Message;
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::push::Subscription;
use quintet_core::presence::{Member, MemberKey, PresenceGuard, Snapshot};
use quintet_core::reading::Read;

use crate::support::Pretender;

const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(500);

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap()
}

fn hub_with(limits: Limits) -> (Arc<Hub>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp(1_000)));
    let engine = Arc::new(MemoryEngine::new(LogId(7), limits.clone()));
    let config = HubConfig { limits, clock: Arc::<ManualClock>::clone(&clock), shards: 2, ..HubConfig::new(engine) };
    (Hub::start(config).unwrap(), clock)
}

fn hub() -> Arc<Hub> {
    hub_with(Limits::default()).0
}

fn member(id: &str) -> Member {
    Member::new(id, None, None).unwrap()
}

fn enter(hub: &Hub, id: &str) -> PresenceGuard {
    hub.presence().enter(&name("chat"), member(id)).unwrap()
}

fn snapshot(hub: &Hub) -> Snapshot {
    hub.presence().of(&name("chat"), None, 1_000).unwrap()
}

fn ids(hub: &Hub) -> Vec<String> {
    snapshot(hub).members.iter().map(|member| member.key.id.to_string()).collect()
}

/// What readers of `$presence/chat` see, in short: `+anna`, `~anna`, `-anna`.
async fn told(hub: &Hub, since: Since) -> Vec<String> {
    let page = hub.read(&Read::new(name("$presence/chat"), since)).await.unwrap();
    page.batch.messages().iter().map(|message| short(message)).collect()
}

fn short(message: &Message) -> String {
    assert_eq!(message.content_type.as_str(), "application/json");
    let text = std::str::from_utf8(&message.payload).unwrap();
    let value = |name: &str| {
        let begin = format!("\"{name}\":\"");
        text.split_once(&begin).map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
    };
    let sign = match value("event").unwrap().as_str() {
        "join" => '+',
        "update" => '~',
        "leave" => '-',
        other => panic!("{other}"),
    };
    let data = value("data").map(|data| format!("={data}")).unwrap_or_default();
    format!("{sign}{}{data}", value("id").unwrap())
}

/// Lets time pass and the hub do what is due then.
async fn pass(time: Duration) {
    tokio::time::sleep(time + Duration::from_millis(1)).await;
    tokio::time::sleep(TICK).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_with_its_first_connection_and_leaves_with_its_last() {
    let hub = hub();
    let (one, two) = (enter(&hub, "anna"), enter(&hub, "anna"));
    assert_eq!(ids(&hub), ["anna"]);
    one.leave();
    pass(GRACE * 2).await;
    assert_eq!(told(&hub, Since::Start).await, ["+anna"]);
    two.leave();
    assert_eq!(told(&hub, Since::Start).await, ["+anna", "-anna"]);
    assert!(ids(&hub).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_leaves_after_its_grace_and_a_quick_return_is_no_news() {
    let hub = hub();
    drop(enter(&hub, "anna"));
    pass(GRACE - TICK * 2).await;
    assert_eq!(ids(&hub), ["anna"]);
    let back = enter(&hub, "anna");
    pass(GRACE * 3).await;
    assert_eq!(told(&hub, Since::Start).await, ["+anna"]);
    drop(back);
    pass(GRACE).await;
    assert_eq!(told(&hub, Since::Start).await, ["+anna", "-anna"]);
    // One that came back for a lost one, and left in order, is gone at once.
    drop(enter(&hub, "ben"));
    enter(&hub, "ben").leave();
    assert_eq!(told(&hub, Since::Start).await[2..], ["+ben", "-ben"]);
    // Of two that were lost only one came back: the other one may still.
    let (first, second) = (enter(&hub, "cleo"), enter(&hub, "cleo"));
    drop((first, second));
    enter(&hub, "cleo").leave();
    assert_eq!(ids(&hub), ["cleo"]);
    pass(GRACE).await;
    assert!(ids(&hub).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_poller_stays_for_its_lease() {
    let hub = hub();
    let touch = |wait| hub.presence().touch(&name("chat"), member("anna"), Duration::from_secs(wait)).unwrap();
    for _ in 0..5 {
        touch(0);
        pass(Duration::from_secs(29) - TICK).await;
    }
    assert_eq!(told(&hub, Since::Start).await, ["+anna"]);
    pass(Duration::from_secs(1)).await;
    assert_eq!(told(&hub, Since::Start).await, ["+anna", "-anna"]);
    touch(60);
    pass(Duration::from_secs(119) - TICK).await;
    assert_eq!(ids(&hub), ["anna"]);
    pass(Duration::from_secs(1)).await;
    assert!(ids(&hub).is_empty());
    // Whoever polls and is connected leaves when both are over.
    touch(0);
    enter(&hub, "anna").leave();
    assert_eq!(ids(&hub), ["anna"]);
    pass(Duration::from_secs(30)).await;
    assert!(ids(&hub).is_empty());
}

#[tokio::test(start_paused = true)]
async fn data_is_told_when_it_changes() {
    let (hub, clock) = hub_with(Limits::default());
    let come = |data| hub.presence().enter(&name("chat"), Member::new("anna", Some("a"), data).unwrap()).unwrap();
    let _one = come(Some("x"));
    clock.advance(Duration::from_secs(5));
    let _same = (come(Some("x")), come(None));
    let _other = come(Some("y"));
    let at = snapshot(&hub);
    assert_eq!((at.members[0].data.as_deref(), at.members[0].since), (Some("y"), Timestamp(1_000)));
    let _none = come(Some(""));
    assert_eq!(told(&hub, Since::Start).await, ["+anna=x", "~anna=y", "~anna"]);
    assert_eq!(told(&hub, Since::After(at.cursor.into())).await, ["~anna"]);
    assert_eq!(snapshot(&hub).members[0].data, None);
}

#[tokio::test(start_paused = true)]
async fn an_id_belongs_to_its_subject() {
    let hub = hub();
    let come = |subject| hub.presence().enter(&name("chat"), Member::new("anna", subject, None).unwrap()).unwrap();
    let (own, foreign, nobody) = (come(Some("anna")), come(Some("eve")), come(None));
    let subjects = |hub: &Hub| -> Vec<_> { snapshot(hub).members.into_iter().map(|m| m.key.subject).collect() };
    assert_eq!(subjects(&hub), [None, Some("anna".into()), Some("eve".into())]);
    foreign.leave();
    nobody.leave();
    assert_eq!(subjects(&hub), [Some("anna".into())]);
    drop(own);
}

#[tokio::test(start_paused = true)]
async fn too_many_are_refused_and_implied_ones_are_passed_over() {
    let limits = Limits { presence_members: 3, presence_members_per_topic: 2, ..Limits::default() };
    let (hub, _) = hub_with(limits);
    let (anna, _ben) = (enter(&hub, "anna"), enter(&hub, "ben"));
    let refused = |topic: &str, id: &str| hub.presence().enter(&name(topic), member(id)).unwrap_err().kind().clone();
    assert_eq!(refused("chat", "cleo"), Kind::TooMany);
    let again = enter(&hub, "anna");
    hub.presence().touch(&name("other"), member("anna"), Duration::ZERO).unwrap();
    assert_eq!(refused("third", "anna"), Kind::TooMany);
    let touch = hub.presence().touch(&name("third"), member("x"), Duration::ZERO);
    assert_eq!(touch.unwrap_err().kind(), &Kind::TooMany);
    let unseen = hub.presence().enter(&name("chat"), Member::implied("dora").unwrap()).unwrap();
    hub.presence().touch(&name("chat"), Member::implied("dora").unwrap(), Duration::ZERO).unwrap();
    assert_eq!(ids(&hub), ["anna", "ben"]);
    unseen.leave();
    anna.leave();
    again.leave();
    let _cleo = enter(&hub, "cleo");
    assert_eq!(ids(&hub), ["ben", "cleo"]);
    assert_eq!(refused("$replies/x", "anna"), Kind::Forbidden);
    assert_eq!(refused(&"a".repeat(505), "anna"), Kind::BadName);
}

#[tokio::test(start_paused = true)]
async fn a_full_log_refuses_who_comes_and_forgets_nobody() {
    let (hub, _) = hub_with(Limits { memory_log_bytes: 150, ..Limits::default() });
    let anna = enter(&hub, "anna");
    let refused = hub.presence().enter(&name("chat"), member("ben")).unwrap_err();
    assert_eq!(refused.kind(), &Kind::StorageFull);
    anna.leave();
    pass(GRACE).await;
    // It could not be told, so it is not so.
    assert_eq!(ids(&hub), ["anna"]);
}

#[tokio::test(start_paused = true)]
async fn changes_are_trimmed_and_never_refused_for_those_before_them() {
    let (hub, _) = hub_with(Limits { memory_topic_bytes: 1_000, ..Limits::default() });
    let at = snapshot(&hub).cursor;
    for _ in 0..100 {
        enter(&hub, "anna").leave();
    }
    let _ben = enter(&hub, "ben");
    let gap = hub.read(&Read::new(name("$presence/chat"), Since::After(at.into()))).await.unwrap_err();
    assert!(matches!(gap.kind(), Kind::Gap { .. }));
    assert_eq!(told(&hub, Since::Start).await.last().unwrap(), "+ben");
}

#[tokio::test(start_paused = true)]
async fn snapshots_come_in_parts() {
    let hub = hub();
    let _guards: Vec<_> = ["cleo", "anna", "ben"].iter().map(|id| enter(&hub, id)).collect();
    let part = |after: Option<&MemberKey>| hub.presence().of(&name("chat"), after, 2).unwrap();
    let first = part(None);
    assert_eq!((first.members.len(), first.count, first.more), (2, 3, true));
    let second = part(Some(&first.members[1].key));
    assert_eq!((&*second.members[0].key.id, second.members.len(), second.more), ("cleo", 1, false));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_needs_goes_away() {
    let hub = hub();
    enter(&hub, "anna").leave();
    let at = snapshot(&hub).cursor;
    let reserved =
        || hub.list_topics(&ListTopics { filter: Some(Filter::parse("$presence/#").unwrap()), after: None, max: 9 });
    assert_eq!(reserved().len(), 1);
    let selection = Selection::Topic(name("$presence/chat"));
    let follower = hub.subscribe(&selection, &Since::After(at.into())).await.unwrap();
    pass(Duration::from_secs(300)).await;
    assert_eq!(reserved().len(), 1, "it is followed");
    drop(follower);
    pass(Duration::from_secs(120)).await;
    assert!(reserved().is_empty());
    let stale = hub.read(&Read::new(name("$presence/chat"), Since::After(at.into()))).await.unwrap_err();
    assert_eq!(stale.kind(), &Kind::TopicDeleted);
    let at = snapshot(&hub).cursor;
    let _back = enter(&hub, "anna");
    assert_eq!(told(&hub, Since::After(at.into())).await, ["+anna"]);
}

#[tokio::test(start_paused = true)]
async fn a_hub_with_two_logs_tells_in_memory_and_one_without_says_so() {
    let disk = || Arc::new(Pretender(MemoryEngine::new(LogId(3), Limits::default())));
    let memory = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
    let config = HubConfig::new(disk());
    let hub = Hub::start(HubConfig { engines: vec![disk(), memory], ..config.clone() }).unwrap();
    // Whoever waits for the first change sees it, from `now` as well as from a snapshot, on a topic or a filter.
    let page = hub.read(&Read::new(name("$presence/chat"), Since::Now)).await.unwrap();
    let at = snapshot(&hub).cursor;
    assert_eq!((page.batch.next().log, at.log), (LogId(7), LogId(7)));
    let filter = Selection::Filter(Filter::parse("$presence/#").unwrap());
    let mut all = hub.subscribe(&filter, &Since::After(at.into())).await.unwrap();
    let mut one = hub.subscribe(&Selection::Topic(name("$presence/chat")), &Since::Now).await.unwrap();
    // A cursor of another log is of another process: whom its reader believes to be there need not be.
    for log in [LogId(3), LogId(99)] {
        let stale = Position { log, offset: at.offset };
        let stale = hub.read(&Read::new(name("$presence/chat"), Since::After(stale.into()))).await.unwrap_err();
        assert_eq!(stale.kind(), &Kind::StaleCursor);
    }
    let _anna = enter(&hub, "anna");
    for cursor in [page.batch.next(), at] {
        assert_eq!(told(&hub, Since::After(cursor.into())).await, ["+anna"]);
    }
    for follower in [&mut all, &mut one] {
        assert_eq!(next(follower).await, ["+anna"]);
    }

    let hub = Hub::start(config).unwrap();
    let refused = hub.presence().enter(&name("chat"), member("anna")).unwrap_err();
    assert_eq!((refused.kind(), refused.to_string().contains("memory log")), (&Kind::BadRequest, true));
    assert!(hub.presence().of(&name("chat"), None, 1).is_err());
    hub.presence().touch(&name("chat"), Member::implied("anna").unwrap(), Duration::ZERO).unwrap();
}

async fn next(follower: &mut Subscription) -> Vec<String> {
    match follower.next().await {
        Some(Delivery::Messages { batch, .. }) => batch.messages().iter().map(|message| short(message)).collect(),
        other => panic!("{other:?}"),
    }
}

/// The members and their data as who follows has them.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Fold(BTreeMap<String, Option<String>>);

impl Fold {
    fn of(snapshot: &Snapshot) -> Self {
        let entry =
            |m: &quintet_core::presence::PresentMember| (m.key.id.to_string(), m.data.as_deref().map(str::to_owned));
        Self(snapshot.members.iter().map(entry).collect())
    }

    /// Every change has to be one: nobody joins who is there, and nobody leaves who is not.
    fn apply(&mut self, change: &str) {
        let (id, data) = match change[1..].split_once('=') {
            Some((id, data)) => (id.to_owned(), Some(data.to_owned())),
            None => (change[1..].to_owned(), None),
        };
        match &change[..1] {
            "+" => assert!(self.0.insert(id, data).is_none(), "{change}: is there already"),
            "~" => assert!(self.0.insert(id, data).is_some(), "{change}: is not there"),
            _ => assert!(self.0.remove(&id).is_some(), "{change}: is not there"),
        }
    }
}

async fn fold_from(hub: &Hub, mut fold: Fold, mut at: Position) -> Result<Fold> {
    loop {
        let page = hub.read(&Read::new(name("$presence/chat"), Since::After(at.into()))).await?;
        page.batch.messages().iter().for_each(|message| fold.apply(&short(message)));
        at = page.batch.next();
        if page.up_to_date {
            return Ok(fold);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn snapshots_and_what_follows_them_are_one_story_under_concurrent_changes() {
    let (hub, _) = hub_with(Limits { presence_grace: Duration::from_millis(1), ..Limits::default() });
    let over = Arc::new(AtomicBool::new(false));
    let comers: Vec<_> = (0..4)
        .map(|task: usize| {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move {
                for i in 0..500_usize {
                    let id = format!("m{}", (i * 7 + task * 3) % 11);
                    let data = format!("{}", i % 3);
                    let member = Member::new(&id, None, Some(&data)).unwrap();
                    let guard = hub.presence().enter(&name("chat"), member).unwrap();
                    tokio::task::yield_now().await;
                    if i % 2 == 0 { guard.leave() } else { drop(guard) }
                }
            })
        })
        .collect();
    let looker = tokio::spawn({
        let (hub, over) = (Arc::clone(&hub), Arc::clone(&over));
        async move {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) && seen.len() < 200 {
                seen.push(snapshot(&hub));
                tokio::task::yield_now().await;
            }
            seen
        }
    });
    for comer in comers {
        comer.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let seen = looker.await.unwrap();
    // Those that were lost last are gone after a tick, which is awaited on the topic itself.
    let last = snapshot(&hub);
    let mut follower =
        hub.subscribe(&Selection::Topic(name("$presence/chat")), &Since::After(last.cursor.into())).await.unwrap();
    let mut fold = Fold::of(&last);
    while !fold.0.is_empty() {
        let changes = tokio::time::timeout(Duration::from_secs(20), next(&mut follower)).await.expect("nobody leaves");
        changes.iter().for_each(|change| fold.apply(change));
    }
    assert!(ids(&hub).is_empty());
    for snapshot in seen {
        assert_eq!(fold_from(&hub, Fold::of(&snapshot), snapshot.cursor).await.unwrap(), Fold::default());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter { id: usize, data: Option<u8> },
    Lose(usize),
    Leave(usize),
    Touch { id: usize, wait_s: u64 },
    Pass { half_seconds: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, proptest::option::of(0..2_u8)).prop_map(|(id, data)| Step::Enter { id, data }),
        2 => (0..8_usize).prop_map(Step::Lose),
        1 => (0..8_usize).prop_map(Step::Leave),
        1 => (0..3_usize, 0..40_u64).prop_map(|(id, wait_s)| Step::Touch { id, wait_s }),
        2 => (1..50_u32).prop_map(|half_seconds| Step::Pass { half_seconds }),
    ]
}

/// What a member should be, told in another way than the hub does it: every connection and question for itself.
#[derive(Debug, Default, Clone)]
struct Model {
    connections: usize,
    /// Until when each lost connection may come back.
    lost: Vec<Duration>,
    leases: Vec<Duration>,
    data: Option<u8>,
    there: bool,
}

impl Model {
    fn look(&mut self, now: Duration) {
        // Grace is that of the connection that was lost last, for all that have not come back.
        if self.lost.iter().all(|until| *until <= now) {
            self.lost.clear();
        }
        let stays = self.connections > 0 || !self.lost.is_empty() || self.leases.iter().any(|until| *until > now);
        if !stays {
            *self = Self::default();
        }
    }
}

struct World {
    hub: Arc<Hub>,
    models: [Model; 3],
    guards: Vec<(usize, PresenceGuard)>,
    now: Duration,
    empty_since: Option<Duration>,
}

impl World {
    fn come(&mut self, id: usize, data: Option<u8>) {
        let model = &mut self.models[id];
        model.look(self.now);
        model.there = true;
        model.data = data.or(model.data);
    }

    async fn take(&mut self, step: Step) {
        let of = |id: usize, data: Option<u8>| {
            Member::new(&format!("m{id}"), None, data.map(|data| data.to_string()).as_deref()).unwrap()
        };
        match step {
            Step::Enter { id, data } => {
                self.come(id, data);
                self.models[id].connections += 1;
                self.models[id].lost.pop();
                self.guards.push((id, self.hub.presence().enter(&name("chat"), of(id, data)).unwrap()));
            }
            Step::Lose(i) | Step::Leave(i) if i < self.guards.len() => {
                let (id, guard) = self.guards.swap_remove(i);
                self.models[id].connections -= 1;
                if matches!(step, Step::Lose(_)) {
                    drop(guard);
                    self.models[id].lost.push(self.now + GRACE);
                } else {
                    guard.leave();
                }
            }
            Step::Lose(_) | Step::Leave(_) => {}
            Step::Touch { id, wait_s } => {
                self.come(id, None);
                let lease = Duration::from_secs(30).max(Duration::from_secs(wait_s * 2));
                self.models[id].leases.push(self.now + lease);
                self.hub.presence().touch(&name("chat"), of(id, None), Duration::from_secs(wait_s)).unwrap();
            }
            Step::Pass { half_seconds } => {
                self.now += TICK * half_seconds;
                tokio::time::advance(TICK * half_seconds).await;
                // Whatever is due is done without more time passing.
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
            }
        }
        self.models.iter_mut().for_each(|model| model.look(self.now));
        let is_empty = self.models.iter().all(|model| !model.there);
        self.empty_since = is_empty.then(|| self.empty_since.unwrap_or(self.now));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn presence_is_what_a_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World { hub: hub(), models: Default::default(), guards: Vec::new(), now: Duration::ZERO, empty_since: None };
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            let mut at = snapshot(&world.hub);
            for step in steps {
                world.take(step.clone()).await;
                let there = |(i, model): (usize, &Model)| model.there.then(|| (format!("m{i}"), model.data.map(|data| data.to_string())));
                let expected = Fold(world.models.iter().enumerate().filter_map(there).collect());
                let now = snapshot(&world.hub);
                assert_eq!(Fold::of(&now), expected, "after {step:?}");
                match fold_from(&world.hub, Fold::of(&at), at.cursor).await {
                    Ok(followed) => assert_eq!(followed, expected, "followed to {step:?}"),
                    // What nobody needed for a minute is gone.
                    Err(error) => {
                        assert_eq!(error.kind(), &Kind::TopicDeleted);
                        assert!(world.empty_since.is_some_and(|since| world.now - since >= PRESENCE_EMPTY_KEPT));
                    }
                }
                at = now;
            }
        });
    }
}
