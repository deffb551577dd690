//! A `/ws` session: commands with ids, their answers, and what comes unasked.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::hub::Hub;
use crate::harness::socket::{End, Socket};

/// An open session.
#[derive(Debug)]
pub struct Session {
    pub socket: Socket,
    next_id: u64,
    unasked: VecDeque<Value>,
}

impl Session {
    pub async fn open(hub: &Hub) -> Self {
        Self::over(Socket::open(hub, "/ws", Some("quintet.v1")).await)
    }

    pub fn over(socket: Socket) -> Self {
        Self { socket, next_id: 1, unasked: VecDeque::new() }
    }

    /// Sends one command and returns its answer, `{"ok":…}` or `{"error":…}`.
    pub async fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let id = self.send(command, arguments).await;
        loop {
            let frame = self.frame().await.expect("the session goes on");
            if frame.get("id") == Some(&id) {
                return frame;
            }
            assert!(frame.get("id").is_none(), "an answer that was not asked for: {frame}");
            self.unasked.push_back(frame);
        }
    }

    /// The `ok` of the answer.
    #[track_caller]
    pub fn call(&mut self, command: &str, arguments: Value) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.ask(command, arguments).await;
            answer.get("ok").unwrap_or_else(|| panic!("refused at {caller}: {answer}")).clone()
        }
    }

    /// The `error` of the answer.
    pub async fn refusal(&mut self, command: &str, arguments: Value) -> Value {
        let answer = self.ask(command, arguments).await;
        answer.get("error").unwrap_or_else(|| panic!("not refused: {answer}")).clone()
    }

    /// Sends one command without waiting; its id.
    pub async fn send(&mut self, command: &str, arguments: Value) -> Value {
        let id = json!(self.next_id);
        self.next_id += 1;
        let mut frame = json!({ "id": id });
        frame[command] = arguments;
        self.socket.send_text(&frame.to_string()).await;
        id
    }

    /// The next frame that comes unasked.
    pub async fn next(&mut self) -> Result<Value, End> {
        match self.unasked.pop_front() {
            Some(frame) => Ok(frame),
            None => self.frame().await,
        }
    }

    /// Envelopes, until there are so many.
    pub async fn messages(&mut self, n: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.len() < n {
            let frame = self.next().await.expect("the session goes on");
            let batch = frame["messages"].as_array().unwrap_or_else(|| panic!("not a delivery: {frame}"));
            messages.extend(batch.iter().cloned());
        }
        messages
    }

    async fn frame(&mut self) -> Result<Value, End> {
        match self.socket.next().await? {
            Message::Text(text) => Ok(serde_json::from_str(&text).unwrap()),
            other => panic!("a session speaks text: {other:?}"),
        }
    }
}
