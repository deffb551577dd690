//! SIGTERM: nobody new, everybody told, what was acknowledged kept, exit code 0.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::events::Events;
use crate::harness::hub::Hub;
use crate::harness::session::Session;
use crate::harness::socket::{End, Socket};

#[tokio::test]
async fn everybody_who_waits_is_told() {
    let mut hub = Hub::start().await;
    let cursor = hub.http().publish("t", "x").await;
    let path = format!("/topics/t?offset={cursor}");
    let mut events = Events::open(hub.http().get(&path)).await;
    events.id().await;
    let mut session = Session::open(&hub).await;
    session.call("subscribe", json!({"topic": "t"})).await;
    let mut socket = Socket::open(&hub, "/topics/t", None).await;
    let mut responder = Session::open(&hub).await;
    responder.call("respond", json!({"service": "s"})).await;
    let poll = tokio::spawn(hub.http().get(&format!("{path}&live=long-poll&timeout=60")).try_send());
    // The publish is read by the poll's neighbours, so that all of them are known to be in place.
    let probe = hub.http().publish("t", "y").await;
    assert_eq!(events.next().await.unwrap().id, probe);
    poll.await.unwrap().unwrap().expect(200);
    let parked =
        tokio::spawn(hub.http().get(&format!("/topics/t?offset={probe}&live=long-poll&timeout=60")).try_send());
    hub.http().get("/health").send().await.expect(200);

    let began = Instant::now();
    hub.terminate();
    assert_eq!(events.next().await, None);
    session.messages(1).await;
    let goodbye = session.next().await.unwrap();
    assert_eq!(goodbye["goodbye"]["reason"], "shutting-down", "{goodbye}");
    assert!(matches!(session.next().await, Err(End::Close(1001, _))));
    assert_eq!(socket.close_code().await, 1001);
    assert_eq!(responder.next().await.unwrap()["goodbye"]["reason"], "shutting-down");
    if let Ok(answer) = parked.await.unwrap() {
        assert!([200, 204, 503].contains(&answer.status), "{answer:?}");
    }
    let status = hub.exit().await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_again() {
    let mut hub = Hub::start().await;
    hub.http().publish("kept", "0").await;
    let publishing = tokio::spawn({
        let http = hub.http().clone();
        async move {
            let mut acknowledged = 1;
            loop {
                let post = http.post("/topics/kept", "text/plain", format!(" {acknowledged}"));
                match post.try_send().await {
                    Ok(answer) if answer.status == 204 => acknowledged += 1,
                    Ok(answer) => {
                        assert_eq!(answer.status, 503, "{answer:?}");
                        return acknowledged;
                    }
                    Err(_) => return acknowledged,
                }
            }
        }
    });
    let mut reader = Session::open(&hub).await;
    reader.call("subscribe", json!({"topic": "kept", "since": "start"})).await;
    reader.messages(100).await;
    hub.terminate();
    assert_eq!(hub.exit().await.code(), Some(0));
    let acknowledged = publishing.await.unwrap();
    hub.start_again().await;
    let text = hub.http().get("/topics/kept").send().await.expect(200).text();
    let kept: Vec<u64> = text.split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(kept.len() >= acknowledged, "{acknowledged} acknowledged, {} kept", kept.len());
    assert!(kept.iter().enumerate().all(|(n, kept)| *kept == n as u64), "{kept:?}");
}

#[tokio::test]
async fn an_idle_hub_ends_at_once() {
    for name in ["TERM", "INT"] {
        let mut hub = Hub::start_in_memory().await;
        let _idle = crate::harness::raw::connect(&hub).await;
        let began = Instant::now();
        crate::harness::hub::signal(hub.pid(), name);
        assert_eq!(hub.exit().await.code(), Some(0), "SIG{name}");
        assert!(began.elapsed() < Duration::from_secs(4), "SIG{name} took {:?}", began.elapsed());
    }
}
