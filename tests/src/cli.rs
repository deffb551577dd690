//! The `quintet` command: what it prints, what it says when something is wrong, and how it exits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cli::{self, Output, Running};
use crate::harness::deadline::{SOON, until};
use crate::harness::hub::{Hub, free_port, signal};

/// Asserts a failure with this exit code, whose message holds every one of these.
#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    for part in parts {
        assert!(output.stderr.contains(part), "{part:?} is not in {:?}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

/// Starts a responder and waits until the hub knows it.
async fn responder(hub: &Hub, arguments: &[&str]) -> Running {
    let service = arguments[1];
    let running = cli::spawn(hub, arguments);
    while cli::run(hub, &["request", service, "are you there?"]).await.code == Some(5) {}
    running
}

#[tokio::test]
async fn publishing_an_argument_a_file_and_lines() {
    let hub = Hub::start_in_memory().await;
    cli::run(&hub, &["pub", "t", "argument", "-H", "colour=blue"]).await.expect_success();
    cli::run_with_input(&hub, &["pub", "t"], b"line 1\nline 2\n\nlast without newline").await.expect_success();
    cli::run_with_input(&hub, &["pub", "t", "--file", "-"], b"a\nb\n").await.expect_success();
    cli::run(&hub, &["pub", "t", "--json", r#"{"id": 7}"#]).await.expect_success();
    cli::run_with_input(&hub, &["pub", "t", "--file", "in"], &[0xff, 0xfe]).await.expect_success();
    let (envelopes, _) = hub.http().read("t", "start").await;
    let data: Vec<_> = envelopes.iter().map(|envelope| envelope["data"].clone()).collect();
    let expected = json!(["argument", "line 1", "line 2", "", "last without newline", "a\nb\n", {"id": 7}, "//4="]);
    // An empty message is no message: how an empty line is taken is up to the command, but it may not fail.
    let without_empty: Vec<_> = expected.as_array().unwrap().iter().filter(|value| *value != "").cloned().collect();
    assert!(json!(data) == expected || data == without_empty, "{data:?}");
    assert_eq!(envelopes[0]["headers"]["colour"], "blue");
}

#[tokio::test]
async fn publishing_with_a_message_id_and_with_receipts() {
    let hub = Hub::start_in_memory().await;
    let pay = ["pub", "t", "pay 5", "--message-id", "order-17", "-H", "till=3"];
    let first = cli::run(&hub, &pay).await;
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let again = cli::run(&hub, &pay).await;
    assert!(again.code == Some(0) && again.stderr.contains("had the message already"), "{again:?}");
    let (envelopes, _) = hub.http().read("t", "start").await;
    assert_eq!(envelopes.len(), 1);
    assert_eq!(envelopes[0]["headers"], json!({"till": "3", "message-id": "order-17"}));
    let counted = cli::run(&hub, &["pub", "t", "x", "--receipts"]).await;
    assert_eq!(counted.expect_success(), "readers=0 groups=0\n");
    refused(&cli::run(&hub, &["pub", "t", "--message-id", "x"]).await, 2, &["--message-id", "--file"]);
    refused(&cli::run(&hub, &["pub", "t", "--receipts"]).await, 2, &["--receipts", "--file"]);
    refused(&cli::run(&hub, &["pub", "t", "x", "--message-id", "a b"]).await, 4, &["visible ASCII"]);
}

#[tokio::test]
async fn subscribing_prints_lines_or_json() {
    let hub = Hub::start_in_memory().await;
    let cursor = hub.http().publish("t", "one").await;
    hub.http().publish("t", "two").await;
    for via in ["ws", "sse", "long-poll", "short-poll"] {
        let sub = |more: &[&str]| {
            let arguments = [&["sub", "t", "--via", via, "--since"], more].concat();
            cli::spawn(&hub, &arguments).output(SOON)
        };
        assert_eq!(sub(&["start", "--count", "2"]).await.expect_success(), "one\ntwo\n", "{via}");
        assert_eq!(sub(&[&cursor, "--count", "1"]).await.expect_success(), "two\n", "{via}");
        let line = sub(&["start", "--count", "1", "--json"]).await.expect_success();
        let envelope: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&envelope["topic"], &envelope["data"], &envelope["offset"]),
            (&json!("t"), &json!("one"), &json!(cursor))
        );
    }
    let by_filter = cli::run(&hub, &["sub", "#", "--since", "start", "--count", "2"]).await;
    assert_eq!(by_filter.expect_success(), "one\ntwo\n");
}

#[tokio::test]
async fn subscribing_ends_with_the_topic() {
    let hub = Hub::start_in_memory().await;
    for via in ["ws", "sse", "long-poll", "short-poll"] {
        let (closing, deleting) = (format!("closing-{via}"), format!("deleting-{via}"));
        hub.http().publish(&closing, "x").await;
        hub.http().publish(&deleting, "x").await;
        let mut to_close = cli::spawn(&hub, &["sub", &closing, "--via", via, "--since", "start"]);
        let mut to_delete = cli::spawn(&hub, &["sub", &deleting, "--via", via, "--since", "start"]);
        to_close.lines(1, SOON).await;
        to_delete.lines(1, SOON).await;
        cli::run(&hub, &["topics", "close", &closing]).await.expect_success();
        cli::run(&hub, &["topics", "delete", &deleting]).await.expect_success();
        let closed = to_close.output(SOON).await;
        assert_eq!((closed.code, closed.stdout.as_str()), (Some(0), "x\n"), "{via}: {}", closed.stderr);
        let deleted = to_delete.output(SOON).await;
        assert_eq!((deleted.code, deleted.stdout.as_str()), (Some(1), "x\n"), "{via}: {}", deleted.stderr);
    }
}

#[tokio::test]
async fn subscribing_ends_by_a_signal_as_shells_tell_it() {
    let hub = Hub::start_in_memory().await;
    hub.http().publish("t", "x").await;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut sub = cli::spawn(&hub, &["sub", "t", "--since", "start"]);
        sub.lines(1, SOON).await;
        signal(sub.pid(), name);
        let output = sub.output(SOON).await;
        assert_eq!(output.code, Some(code), "SIG{name}: {output:?}");
    }
}

#[tokio::test]
async fn topics_for_people_and_for_scripts() {
    let hub = Hub::start_in_memory().await;
    let empty = cli::run(&hub, &["topics", "list"]).await;
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(0), ""), "{}", empty.stderr);
    cli::run(&hub, &["topics", "create", "jobs", "--type", "application/json"]).await.expect_success();
    cli::run(&hub, &["topics", "create", "jobs", "--type", "application/json"]).await.expect_success();
    hub.http().publish("chat/room", "hello").await;
    let table = cli::run(&hub, &["topics", "list"]).await.expect_success();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("TOPIC") && lines[0].contains("MESSAGES"), "{table}");
    assert!(lines[1].starts_with("chat/room") && lines[2].starts_with("jobs"), "{table}");
    assert_eq!(lines.len(), 3, "{table}");
    let listed = cli::run(&hub, &["topics", "list", "chat/#", "--json"]).await.expect_success();
    let topic: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&topic["topic"], &topic["messages"]), (&json!("chat/room"), &json!(1)));
    let shown = cli::run(&hub, &["topics", "show", "jobs"]).await.expect_success();
    assert!(shown.contains("application/json") && shown.contains("open"), "{shown}");
    cli::run(&hub, &["topics", "close", "jobs"]).await.expect_success();
    let shown = cli::run(&hub, &["topics", "show", "jobs", "--json"]).await.expect_success();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["closed"], true);
    cli::run(&hub, &["topics", "delete", "jobs"]).await.expect_success();
    refused(&cli::run(&hub, &["topics", "show", "jobs"]).await, 4, &["jobs"]);
}

#[tokio::test]
async fn requests_and_responders() {
    let hub = Hub::start_in_memory().await;
    let _upper = responder(&hub, &["respond", "upper", "--", "tr", "a-z", "A-Z"]).await;
    let reply = cli::run(&hub, &["request", "upper", "hello", "-i"]).await.expect_success();
    assert!(reply.starts_with("200 OK\n") && reply.ends_with("\n\nHELLO"), "{reply}");
    let script = r#"echo "$QUINTET_METHOD $QUINTET_PATH $QUINTET_QUERY $QUINTET_HEADER_X_COLOUR $(cat)""#;
    let _told = responder(&hub, &["respond", "told", "--", "sh", "-c", script]).await;
    let arguments = ["request", "told", "body", "-X", "PUT", "--path", "/a/b", "--query", "q=1", "-H", "x-colour=red"];
    assert_eq!(cli::run(&hub, &arguments).await.expect_success(), "PUT /a/b q=1 red body\n");

    let _broken = responder(&hub, &["respond", "broken", "--", "sh", "-c", "echo no good >&2; exit 3"]).await;
    let output = cli::run(&hub, &["request", "broken", "x"]).await;
    refused(&output, 1, &["500"]);
    assert!(output.stdout.contains("no good"), "{output:?}");

    let accepted = cli::run(&hub, &["request", "upper", "later", "--async"]).await.expect_success();
    assert!(accepted.starts_with("$replies/"), "{accepted}");
    let reply = cli::run(&hub, &["sub", accepted.trim_end(), "--since", "start"]).await.expect_success();
    assert_eq!(reply, "LATER\n");
    let keyed = ["request", "upper", "once", "--key", "k1"];
    assert_eq!(cli::run(&hub, &keyed).await.expect_success(), "ONCE");
    assert_eq!(cli::run(&hub, &keyed).await.expect_success(), "ONCE");
    refused(&cli::run(&hub, &["request", "upper", "twice", "--key", "k1"]).await, 4, &["idempotency-key-reused"]);
}

/// A command that says in a file that it has begun with a request for `work`, and ends when another file is there.
fn at_work(folder: &std::path::Path) -> String {
    let (begun, go) = (folder.join("begun"), folder.join("go"));
    let work = format!("echo > {}; until [ -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    format!("if [ \"$(cat)\" = work ]; then {work}; fi; echo done")
}

#[tokio::test]
async fn what_a_responder_has_begun_is_finished_whoever_is_told_to_end() {
    for hub_ends in [false, true] {
        let mut hub = Hub::start_in_memory().await;
        let folder = tempfile::tempdir().unwrap();
        let script = at_work(folder.path());
        let responder = responder(&hub, &["respond", "slow", "--", "sh", "-c", &script]).await;
        let calling = tokio::spawn(hub.http().post("/services/slow", "text/plain", "work").try_send());
        until(SOON, "the command has begun", || folder.path().join("begun").exists().then_some(())).await;
        if hub_ends {
            hub.terminate();
        } else {
            signal(responder.pid(), "TERM");
        }
        std::fs::write(folder.path().join("go"), "").unwrap();
        let reply = calling.await.unwrap().unwrap().expect(200);
        assert_eq!(reply.text(), "done\n", "the hub ends: {hub_ends}");
        if hub_ends {
            assert_eq!(hub.exit().await.code(), Some(0));
        } else {
            let output = responder.output(SOON).await;
            assert_eq!(output.code, Some(0), "{output:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_gets_no_reply_says_so() {
    let hub = Hub::start_in_memory().await;
    refused(&cli::run(&hub, &["request", "nobody", "x"]).await, 5, &["no-responder", "quintet respond"]);
    let _slow = cli::spawn(&hub, &["respond", "slow", "--", "sleep", "100"]);
    let late = loop {
        let output = cli::run(&hub, &["request", "slow", "x", "--wait", "1s"]).await;
        if !output.stderr.contains("no-responder") {
            break output;
        }
    };
    refused(&late, 5, &["deadline"]);
}

#[tokio::test]
async fn what_is_typed_wrong_is_told() {
    let hub = Hub::start_in_memory().await;
    refused(&cli::run(&hub, &[]).await, 2, &["Usage"]);
    refused(&cli::run(&hub, &["explode"]).await, 2, &["explode"]);
    refused(&cli::run(&hub, &["sub"]).await, 2, &["TOPIC"]);
    refused(&cli::run(&hub, &["sub", "t", "--via", "pigeon"]).await, 2, &["pigeon", "long-poll"]);
    refused(&cli::run(&hub, &["sub", "t", "--since", "yesterday"]).await, 2, &["yesterday"]);
    refused(&cli::run(&hub, &["sub", "a/#", "--via", "sse"]).await, 2, &["filter", "ws"]);
    refused(&cli::run(&hub, &["pub", "t", "--json", "{"]).await, 2, &["JSON"]);
    refused(&cli::run(&hub, &["pub", "a//b", "x"]).await, 4, &["bad-name"]);
    refused(&cli::run(&hub, &["pub", "t", "--file", "nowhere"]).await, 2, &["nowhere"]);
    let help = cli::run(&hub, &["--help"]).await.expect_success();
    assert!(["serve", "pub", "sub", "request", "respond", "topics"].iter().all(|name| help.contains(name)), "{help}");
    assert!(cli::run(&hub, &["--version"]).await.expect_success().starts_with("quintet "));
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_exit_code_3() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let commands: [&[&str]; 4] = [&["pub", "t", "x"], &["sub", "t"], &["request", "s", "x"], &["topics", "list"]];
    for command in commands {
        refused(&cli::spawn_at(&url, command, b"").output(SOON).await, 3, &[&url, "quintet serve"]);
    }
    let nonsense = cli::spawn_at("nonsense", &["topics", "list"], b"").output(SOON).await;
    refused(&nonsense, 2, &["nonsense"]);
}

#[tokio::test]
async fn serving_says_where_and_how_to_try_it() {
    let mut hub = cli::spawn_at("", &["serve", "--memory", "--listen", "127.0.0.1:0"], b"");
    let lines = hub.lines(4, SOON).await;
    assert!(lines[0].contains("memory"), "{lines:?}");
    let url = lines.iter().find_map(|line| line.strip_prefix("listening on ")).expect("where it listens").to_owned();
    assert_eq!(lines.iter().filter(|line| line.trim().starts_with("curl")).count(), 3, "{lines:?}");
    let health = cli::spawn_at(&url, &["topics", "list"], b"").output(SOON).await;
    assert_eq!(health.code, Some(0), "{health:?}");
    // The port is taken now.
    let address = url.strip_prefix("http://").unwrap();
    let second = cli::spawn_at("", &["serve", "--memory", "--listen", address], b"").output(SOON).await;
    refused(&second, 1, &[address, "is taken"]);
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_with_its_place() {
    let serve = |more: &[&str]| {
        let arguments = [&["serve", "--memory", "--listen", "127.0.0.1:0"], more].concat();
        cli::spawn_at("", &arguments, b"limits.mesage_bytes = 1\n").output(Duration::from_secs(30))
    };
    refused(&serve(&["--config", "in"]).await, 2, &["mesage_bytes", "message_bytes"]);
    refused(&serve(&["--config", "nowhere.toml"]).await, 2, &["nowhere.toml"]);
    refused(&serve(&["--set", "limits.topics=many"]).await, 2, &["limits.topics", "many"]);
    refused(&serve(&["--set", "nonsense=1"]).await, 2, &["nonsense"]);
}

#[tokio::test]
async fn two_hubs_do_not_share_a_folder() {
    let hub = Hub::start().await;
    let dir = hub.dir.path().join("data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", dir.to_str().unwrap()];
    let second = cli::spawn_at("", &arguments, b"").output(SOON).await;
    refused(&second, 1, &["data"]);
    hub.http().publish("t", "the first one is well").await;
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let hub = Hub::start_in_memory().await;
    // More than a pipe holds, so that the command is still writing when its reader is gone.
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    cli::run_with_input(&hub, &["pub", "t"], lines.as_bytes()).await.expect_success();
    let quintet = crate::harness::hub::binary().display();
    let script = format!("set -o pipefail; '{quintet}' sub t --since start | head -n 3");
    let mut command = tokio::process::Command::new("bash");
    let head = command.arg("-c").arg(script).env("QUINTET_URL", hub.url()).kill_on_drop(true).output();
    let output = crate::harness::deadline::within(SOON, "head", head).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "line 0\nline 1\nline 2\n");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
