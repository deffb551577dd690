//! A thousand clients that connect, break off and come back at random, over three doors at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use quintet_core::cursor::Since;
use quintet_core::hub::Hub;
use quintet_core::limits::Limits;
use quintet_core::presence::Snapshot;
use quintet_core::reading::Read;
use quintet_gateway::config::GatewayConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server, frame, name, until};

const CLIENTS: usize = 1_000;
const GRACE: Duration = Duration::from_secs(3);
/// Whoever was away for less than this, as the client sees it, was so as the hub sees it.
const SURELY_IN_TIME: Duration = Duration::from_millis(2_500);

/// Repeats with its seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What becomes of a client, drawn beforehand.
#[derive(Clone, Copy)]
struct Fate {
    returns: u64,
    stays: bool,
}

/// Reads the topic through one of the doors, and returns when that has begun.
async fn connect(address: &str, door: u64, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (target, more, wanted) = match door {
        // The topic's only message.
        0 => (format!("/topics/chat?offset=-1&presence-id={id}"), UPGRADE, "hello"),
        1 => ("/ws".to_owned(), UPGRADE, "subscription"),
        _ => (format!("/topics/chat?offset=now&presence-id={id}"), "Accept: text/event-stream\r\n", "id: "),
    };
    let mut asked = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{more}\r\n").into_bytes();
    if door == 1 {
        let subscribe = format!(r#"{{"id":1,"subscribe":{{"topic":"chat","presence":{{"id":"{id}"}}}}}}"#);
        asked.extend(frame(0x81, subscribe.as_bytes()));
    }
    stream.write_all(&asked).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(wanted) {
        let n = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("no answer comes").unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&answer));
    }
    stream
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Lives a client's life; gives its last connection if it stays, and how long it was away at most.
async fn live(address: String, id: String, fate: Fate, mut dice: Dice) -> (String, Option<TcpStream>, Duration) {
    let mut stream = connect(&address, dice.roll(3), &id).await;
    let mut away_max = Duration::ZERO;
    for _ in 0..fate.returns {
        let since = Instant::now();
        drop(stream);
        stream = connect(&address, dice.roll(3), &id).await;
        away_max = away_max.max(since.elapsed());
    }
    (id, fate.stays.then_some(stream), away_max)
}

fn snapshot(hub: &Hub, n_max: usize) -> Snapshot {
    hub.presence().of(&name("chat"), None, n_max).unwrap()
}

fn ids(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.members.iter().map(|member| member.key.id.to_string()).collect()
}

/// What is told behind a snapshot: event and id.
async fn told(hub: &Hub, from: &Snapshot) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut at = from.cursor;
    loop {
        let page = hub.read(&Read::new(name("$presence/chat"), Since::After(at.into()))).await.unwrap();
        for message in page.batch.messages() {
            let change: Value = serde_json::from_slice(&message.payload).unwrap();
            told.push((change["event"].as_str().unwrap().to_owned(), change["id"].as_str().unwrap().to_owned()));
        }
        at = page.batch.next();
        if page.up_to_date {
            return told;
        }
    }
}

/// Follows from a snapshot; every change has to be one.
async fn fold(hub: &Hub, from: &Snapshot) -> BTreeSet<String> {
    let mut members = ids(from);
    for (event, id) in told(hub, from).await {
        let is_news = if event == "join" { members.insert(id.clone()) } else { members.remove(&id) };
        assert!(is_news, "{event} of {id} changes nothing");
    }
    members
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a run that fails tells its seed")]
async fn a_thousand_that_flap_are_told_of_only_when_they_come_and_go() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let limits = Limits { presence_grace: GRACE, ..Limits::default() };
    let server = Server::within(GatewayConfig::default(), limits).await;
    server.publish("chat", "text/plain", &[b"hello"]).await;
    let before = snapshot(&server.hub, CLIENTS);
    let mut clients = JoinSet::new();
    for i in 0..CLIENTS {
        let fate = Fate { returns: dice.roll(3), stays: dice.roll(2) == 0 };
        clients.spawn(live(server.address.clone(), format!("c{i}"), fate, Dice(dice.roll(u64::MAX))));
    }
    let mut halfway = None;
    let (mut staying, mut in_time) = (BTreeMap::new(), BTreeSet::new());
    let mut n_returned = 0;
    while let Some(client) = clients.join_next().await {
        let (id, stream, away_max) = client.unwrap();
        n_returned += usize::from(away_max > Duration::ZERO);
        if away_max < SURELY_IN_TIME {
            in_time.insert(id.clone());
        }
        if let Some(stream) = stream {
            staying.insert(id, stream);
        }
        if clients.len() == CLIENTS / 2 {
            halfway = Some(snapshot(&server.hub, CLIENTS));
        }
    }
    assert!(n_returned > CLIENTS / 3 && !in_time.is_empty(), "{n_returned} came back, {} in time", in_time.len());
    let left: BTreeSet<String> = staying.keys().cloned().collect();
    until(async || snapshot(&server.hub, 1).count == left.len()).await;
    assert_eq!(ids(&snapshot(&server.hub, CLIENTS)), left);

    // Some of those who left come again, and some who stayed go in their turn.
    let gone = (0..CLIENTS).map(|i| format!("c{i}")).filter(|id| !left.contains(id)).take(50);
    for id in gone {
        let stream = connect(&server.address, dice.roll(3), &id).await;
        staying.insert(id, stream);
    }
    let after = snapshot(&server.hub, CLIENTS);
    let present = ids(&after);
    for from in [&before, &halfway.unwrap(), &after] {
        assert_eq!(fold(&server.hub, from).await, present);
    }
    let told = told(&server.hub, &before).await;
    for id in in_time.intersection(&left) {
        let own: Vec<&str> = told.iter().filter(|(_, of)| of == id).map(|(event, _)| event.as_str()).collect();
        assert_eq!(own, ["join"], "{id} was never away for long");
    }
}
