//! A load whose every message has its number, and readers that check them.

use serde_json::Value;

use crate::harness::http::Http;

/// What a reader expects: message 0, then 1, and so on, each once.
#[derive(Debug)]
pub struct Order {
    reader: String,
    next: u64,
}

impl Order {
    pub fn new(reader: &str) -> Self {
        Self { reader: reader.to_owned(), next: 0 }
    }

    /// Takes a message; anything but the next one is a failure.
    #[track_caller]
    pub fn take(&mut self, text: &str) {
        let number = number_of(text);
        assert_eq!(number, self.next, "{} read {number} where {} comes next", self.reader, self.next);
        self.next += 1;
    }

    /// Takes envelopes.
    #[track_caller]
    pub fn take_all(&mut self, envelopes: &[Value]) {
        for envelope in envelopes {
            self.take(envelope["data"].as_str().unwrap_or_else(|| panic!("not a text: {envelope}")));
        }
    }

    pub fn count(&self) -> u64 {
        self.next
    }
}

/// The text of a message: its number and a filling that is not all alike.
pub fn text(number: u64) -> String {
    format!("{number} {}", "x".repeat((number % 200) as usize))
}

fn number_of(text: &str) -> u64 {
    let number = text.split(' ').next().and_then(|number| number.parse().ok());
    let number = number.unwrap_or_else(|| panic!("not a numbered message: {text:?}"));
    assert_eq!(text, self::text(number), "a damaged message");
    number
}

/// Publishes numbered texts one after the other, as fast as the hub answers.
pub async fn publish(http: &Http, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        http.publish(topic, &text(number)).await;
    }
}

/// Publishes numbered texts over one session, pipelined: `window` messages to a command.
pub async fn publish_in_batches(session: &mut crate::harness::session::Session, topic: &str, n: u64, window: u64) {
    let mut from = 0;
    while from < n {
        let to = n.min(from + window);
        let messages: Vec<Value> =
            (from..to).map(|number| serde_json::json!({"data": text(number), "type": "text/plain"})).collect();
        session.call("publish", serde_json::json!({"topic": topic, "messages": messages})).await;
        from = to;
    }
}
