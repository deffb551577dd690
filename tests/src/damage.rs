//! A damaged log, as its operator meets it: the hub serves what is whole and says what is not, `store check` lists it,
//! `store repair` sets it aside.

use std::path::{Path, PathBuf};

use crate::harness::cli;
use crate::harness::deadline::{SOON, until};
use crate::harness::hub::Hub;

/// The file in the hub's data folder with this ending.
fn file(data: &Path, ending: &str) -> Option<PathBuf> {
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_str().unwrap().ends_with(ending)).min()
}

/// Loses a sector around the first place where the file holds this text.
fn lose_sector(path: &Path, text: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let from = at / 512 * 512;
    bytes[from..from + 512].fill(0);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_lost_sector_is_told_of_found_and_set_aside() {
    let mut hub = Hub::start().await;
    let http = hub.http();
    let whole = http.publish("whole", "nothing happens to it").await;
    for n in 0..40 {
        http.publish("orders", &format!("order {n:02} {}", "x".repeat(100))).await;
    }
    // With this sector goes what says that there is such a topic; it has a second copy, soon.
    http.publish("late", "the only one").await;
    for n in 40..60 {
        http.publish("orders", &format!("order {n:02} {}", "x".repeat(100))).await;
    }
    let data = hub.dir.path().join("data");
    let has_copy = || {
        let copies = std::fs::read(file(&data, ".copies")?).ok()?;
        copies.windows(4).any(|window| window == b"late").then_some(())
    };
    until(SOON, "second copies", has_copy).await;
    hub.kill();
    let log = file(&data, ".log").unwrap();
    lose_sector(&log, "order 20");
    lose_sector(&log, "the only one");

    hub.start_again().await;
    let http = hub.http();
    let health = http.get("/health").send().await.expect(200).json();
    assert_eq!(health["status"], "impaired", "{health}");
    assert_eq!(health["problems"][0]["type"], "/problems/storage-damaged", "{health}");
    assert_eq!(http.read("whole", "start").await.1, whole);
    assert!(http.get("/topics").send().await.expect(200).text().contains("late"), "it is still known");
    for topic in ["late", "orders"] {
        // A page may end before what is damaged.
        let mut cursor = "start".to_owned();
        let answer = loop {
            let answer = http.get(&format!("/topics/{topic}?offset={cursor}")).send().await;
            if answer.status != 200 {
                break answer;
            }
            assert_ne!(answer.header("stream-next-offset"), cursor, "{topic} is read to its end");
            cursor = answer.header("stream-next-offset").to_owned();
        };
        let problem = answer.expect_problem(500, "storage-damaged").json();
        assert!(problem["detail"].as_str().unwrap().contains(&format!("the topic {topic} ")), "{problem}");
    }
    http.publish("orders", "goes on").await;

    hub.terminate();
    hub.exit().await;
    let store = |what: &str| cli::spawn_at("", &["store", what, data.to_str().unwrap()], b"").output(SOON);
    let check = store("check").await;
    assert!(check.code == Some(1) && check.stdout.contains("are damaged"), "{check:?}");
    let repair = store("repair").await;
    assert!(repair.stdout.contains("set aside: damaged/"), "{repair:?}");
    let check = store("check").await.expect_success();
    assert!(check.contains("nothing is damaged"), "{check}");

    hub.start_again().await;
    let http = hub.http();
    assert_eq!(http.get("/health").send().await.expect(200).json()["status"], "ok");
    let (mut cursor, mut gaps, mut text) = ("start".to_owned(), 0, String::new());
    loop {
        let answer = http.get(&format!("/topics/orders?offset={cursor}")).send().await;
        match answer.status {
            200 => text.push_str(&answer.text()),
            410 => gaps += 1,
            _ => panic!("{answer:?}"),
        }
        let next = answer.header("stream-next-offset").to_owned();
        if next == cursor {
            break;
        }
        cursor = next;
    }
    assert!(gaps > 0 && text.starts_with("order 00") && text.ends_with("goes on"), "{gaps} gaps in {text}");
    assert!(text.contains("order 59") && !text.contains("order 20"), "{text}");
}
