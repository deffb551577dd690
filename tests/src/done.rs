//! What the first release promises, word for word: four `sub`s side by side, one `pub` at full speed, every message
//! printed once and in order by each; and the same across a `kill -9` of the hub.

use crate::harness::cli::{self, Running};
use crate::harness::deadline::LATER;
use crate::harness::hub::Hub;

const MESSAGES: usize = 10_000;
const TRANSPORTS: [&str; 4] = ["ws", "sse", "long-poll", "short-poll"];

fn input() -> String {
    (0..MESSAGES).map(|n| format!("message {n}\n")).collect()
}

fn subscribers(hub: &Hub) -> Vec<Running> {
    let start = |via| cli::spawn(hub, &["sub", "chat", "--via", via, "--since", "start", "--count", "10000"]);
    TRANSPORTS.into_iter().map(start).collect()
}

async fn each_printed_everything(subscribers: Vec<Running>) {
    let input = input();
    for (subscriber, via) in subscribers.into_iter().zip(TRANSPORTS) {
        let output = subscriber.output(LATER).await;
        assert_eq!(output.code, Some(0), "{via}: {}", output.stderr);
        let difference = output.stdout.lines().zip(input.lines()).find(|(printed, sent)| printed != sent);
        assert_eq!(difference, None, "{via} printed the left where the right comes next");
        assert_eq!(output.stdout.lines().count(), MESSAGES, "{via}");
    }
}

#[tokio::test]
async fn four_subscribers_print_ten_thousand_messages_in_order_exactly_once() {
    let hub = Hub::start().await;
    let subscribers = subscribers(&hub);
    cli::run_with_input(&hub, &["pub", "chat"], input().as_bytes()).await.expect_success();
    each_printed_everything(subscribers).await;
}

#[tokio::test]
async fn they_survive_a_kill_of_the_hub_half_way() {
    let mut hub = Hub::start().await;
    let mut subscribers = subscribers(&hub);
    // Half of it, and then the rest from the same kind of publisher, which the kill hits in mid-load.
    let (input, half) = (input(), MESSAGES / 2);
    let split = input.match_indices('\n').nth(half - 1).unwrap().0 + 1;
    cli::run_with_input(&hub, &["pub", "chat"], &input.as_bytes()[..split]).await.expect_success();
    let rest = cli::spawn_with_input(&hub, &["pub", "chat"], &input.as_bytes()[split..]);
    subscribers[0].lines(half + 1, LATER).await;
    hub.kill();
    hub.start_again().await;
    rest.output(LATER).await.expect_success();
    each_printed_everything(subscribers).await;
}

#[tokio::test]
async fn a_request_is_answered_by_cat() {
    let hub = Hub::start().await;
    let _responder = cli::spawn(&hub, &["respond", "echo", "--", "cat"]);
    // Until the responder is there nobody replies, which is exit code 5.
    let answer = loop {
        let output = cli::run(&hub, &["request", "echo", "hello"]).await;
        if output.code != Some(5) {
            break output.expect_success();
        }
    };
    assert_eq!(answer, "hello");
}
