//! Who is on a topic, through the real binary with both logs: its command line, and what is left after a crash.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cli;
use crate::harness::deadline::{SOON, until};
use crate::harness::hub::{Hub, Options};

async fn hub() -> Hub {
    let config = "[limits]\npresence_grace = \"500ms\"\n";
    Hub::start_with(Options { config: Some(config.to_owned()), ..Options::default() }).await
}

async fn members(hub: &Hub) -> Vec<Value> {
    let text = cli::run(hub, &["presence", "chat", "--json"]).await.expect_success();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until these and no others are on the topic.
async fn until_there(hub: &Hub, ids: &[&str]) -> Vec<Value> {
    let waiting = async {
        loop {
            let members = members(hub).await;
            if members.iter().map(|member| &member["id"]).eq(ids.iter()) {
                return members;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{ids:?} are not there"))
}

#[tokio::test]
async fn the_command_line_is_there_and_shows_who_is() {
    let hub = hub().await;
    let nobody = cli::run(&hub, &["presence", "chat"]).await;
    assert!(nobody.stderr.contains("nobody is on chat"), "{nobody:?}");
    let mut follower = cli::spawn(&hub, &["presence", "chat", "--follow"]);
    // It has its snapshot, in which there is nobody yet.
    until(SOON, "the follower's snapshot", || follower.stderr().contains("nobody").then_some(())).await;
    let sub = |via: &str, id: &str| {
        cli::spawn(&hub, &["sub", "chat", "--via", via, "--presence-id", id, "--presence-data", "a\nb"])
    };
    let running = [sub("ws", "a"), sub("sse", "b"), sub("long-poll", "c"), sub("short-poll", "d")];
    let there = until_there(&hub, &["a", "b", "c", "d"]).await;
    assert_eq!((&there[0]["data"], there[0]["since"].is_string()), (&json!("a\nb"), true));
    let table = cli::run(&hub, &["presence", "chat"]).await.expect_success();
    assert!(table.starts_with("ID  SUBJECT  SINCE") && table.contains(r"a\nb"), "{table}");
    drop(running);
    // Those who ask have a lease that is longer than a test.
    until_there(&hub, &["c", "d"]).await;
    let mut lines = follower.lines(6, SOON).await;
    lines.sort();
    let joins = ["a", "b", "c", "d"].map(|id| format!(r"{id} joins: a\nb"));
    let leaves = ["a", "b"].map(|id| format!("{id} leaves"));
    let mut expected: Vec<String> = joins.into_iter().chain(leaves).collect();
    expected.sort();
    assert_eq!(lines, expected);
    let filter = cli::run(&hub, &["sub", "chat/#", "--presence-id", "a"]).await;
    assert_eq!(filter.code, Some(2), "{filter:?}");
}

#[tokio::test]
async fn who_follows_starts_anew_with_a_hub_that_was_killed() {
    let mut hub = hub().await;
    let _anna = cli::spawn(&hub, &["sub", "chat", "--presence-id", "anna"]);
    until_there(&hub, &["anna"]).await;
    let mut follower = cli::spawn(&hub, &["presence", "chat", "--follow", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&follower.lines(1, SOON).await[0]).unwrap()["id"], "anna");
    hub.kill();
    hub.start_again().await;
    // She comes back by herself; whether before or behind the new snapshot, she is told of once.
    let lines = follower.lines(2, Duration::from_secs(60)).await;
    assert_eq!(serde_json::from_str::<Value>(&lines[1]).unwrap()["id"], "anna");
    assert!(follower.stderr().contains("the hub has begun anew"), "{}", follower.stderr());
}
