//! Consumer groups by the `quintet` command: two workers share messages out, what fails goes to the dead letters and is
//! redriven, and groups are listed, shown and deleted.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::harness::cli::{run, run_with_input, spawn};
use crate::harness::deadline::{LATER, within};
use crate::harness::hub::{Hub, signal};
use crate::harness::seed::Chance;

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

/// The recipe of `docs/groups.md` with processes: the result and the message's offset become one file at once, or it is
/// there already. Server and workers are killed by SIGKILL while they work.
#[tokio::test]
async fn each_effect_happens_once_although_everybody_is_killed() {
    const MESSAGES: usize = 300;
    let mut hub = Hub::start().await;
    let mut chance = Chance::new("effects");
    run(&hub, &["groups", "put", "jobs", "jobs", "--ack-wait", "1s"]).await.expect_success();
    let lines: String = (0..MESSAGES).map(|n| format!("{n}\n")).collect();
    run_with_input(&hub, &["pub", "jobs"], lines.as_bytes()).await.expect_success();
    let store = tempfile::tempdir().unwrap();
    let draft = store.path().join("draft");
    let done = store.path().join("done");
    [&draft, &done].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let recipe = format!(
        "d={}/$$ && cat > $d && {{ ln $d {}/$QUINTET_OFFSET 2>/dev/null; rm $d; }}",
        draft.display(),
        done.display()
    );
    let work = ["consume", "jobs", "--credit", "4", "--", "sh", "-c", &recipe];
    let mut workers: Vec<_> = (0..3).map(|_| spawn(&hub, &work)).collect();
    let (n_done, mut n_kills) = (|| std::fs::read_dir(&done).unwrap().count(), 0);
    while n_done() < MESSAGES {
        tokio::time::sleep(Duration::from_millis(chance.between(5, 80))).await;
        n_kills += 1;
        assert!(n_kills < 500, "the work does not get on: {} of {MESSAGES} done", n_done());
        if chance.between(0, 4) == 0 {
            hub.kill();
            hub.start_again().await;
        } else {
            let which = chance.between(0, 3) as usize;
            signal(workers[which].pid(), "KILL");
            workers[which] = spawn(&hub, &work);
        }
    }
    let group = within(LATER, "the last settlement", async {
        loop {
            let shown = run(&hub, &["groups", "show", "jobs", "--json"]).await.expect_success();
            let group: serde_json::Value = serde_json::from_str(&shown).unwrap();
            if group["counts"]["acknowledged"] == MESSAGES {
                return group;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let mut effects: Vec<usize> =
        std::fs::read_dir(&done).unwrap().map(|file| read_number(&file.unwrap().path())).collect();
    effects.sort_unstable();
    assert_eq!(effects, (0..MESSAGES).collect::<Vec<_>>(), "each message has one effect: {group}");
    eprintln!("{n_kills} kills, {} handed out again", group["counts"]["redelivered"]);
}

fn read_number(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}
