//! Consumer groups by the `quintet` command: two workers share messages out, what fails goes to the dead letters and is
//! redriven, and groups are listed, shown and deleted.

use std::collections::BTreeSet;

use crate::harness::cli::{run, run_with_input, spawn};
use crate::harness::deadline::LATER;
use crate::harness::hub::Hub;

#[tokio::test]
async fn two_workers_share_messages_and_none_comes_twice() {
    let hub = Hub::start().await;
    run(&hub, &["groups", "put", "jobs", "jobs/#"]).await.expect_success();
    let lines: String = (0..200).map(|n| format!("{n}\n")).collect();
    run_with_input(&hub, &["pub", "jobs/a"], lines.as_bytes()).await.expect_success();
    let work = ["consume", "jobs", "--count", "100", "--credit", "4", "--", "sh", "-c", "echo \"$(cat)\""];
    let workers = [spawn(&hub, &work), spawn(&hub, &work)];
    let mut done = BTreeSet::new();
    for worker in workers {
        for line in worker.output(LATER).await.expect_success().lines().filter(|line| !line.is_empty()) {
            assert!(done.insert(line.to_owned()), "{line} came twice");
        }
    }
    assert_eq!(done.len(), 200);
    let shown = run(&hub, &["groups", "show", "jobs"]).await.expect_success();
    assert!(shown.contains("jobs/#"), "{shown}");
    let listed: serde_json::Value =
        serde_json::from_str(run(&hub, &["groups", "--json"]).await.expect_success().lines().next().unwrap()).unwrap();
    assert_eq!((&listed["group"], &listed["counts"]["acknowledged"]), (&"jobs".into(), &200.into()), "{listed}");
    run(&hub, &["groups", "delete", "jobs"]).await.expect_success();
    assert_ne!(run(&hub, &["groups", "show", "jobs"]).await.code, Some(0));
}

#[tokio::test]
async fn what_fails_too_often_dies_and_is_redriven() {
    let hub = Hub::start().await;
    let put = ["groups", "put", "jobs", "jobs", "--dead-letter", "dead", "--max-deliver", "2"];
    run(&hub, &put).await.expect_success();
    run(&hub, &["pub", "jobs", "hard"]).await.expect_success();
    run(&hub, &["consume", "jobs", "--count", "2", "--", "false"]).await;
    let dead = spawn(&hub, &["sub", "dead", "--since", "start", "--count", "1"]);
    assert_eq!(dead.output(LATER).await.expect_success().trim(), "hard");
    let redriven = run(&hub, &["redrive", "jobs"]).await;
    assert!(redriven.code == Some(0) && redriven.stderr.contains('1'), "{redriven:?}");
    let again = run(&hub, &["consume", "jobs", "--count", "1", "--", "cat"]).await.expect_success();
    assert_eq!(again.trim(), "hard");
}
