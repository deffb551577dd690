//! A stream of server-sent events, read as the HTML standard says. Not shared with the hub's own parser: a mistake there
//! should not be able to hide a mistake in what the hub writes.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::harness::deadline::{SOON, within};
use crate::harness::http::Request;

/// One event that was dispatched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The last id that the stream told, up to this event.
    pub id: String,
    /// Empty for a plain message.
    pub name: String,
    pub data: String,
}

/// An open stream.
pub struct Events {
    chunks: BoxStream<'static, Vec<u8>>,
    unread: Vec<u8>,
    ready: VecDeque<Event>,
    event: Event,
    has_data: bool,
    last_id: String,
    pub headers: reqwest::header::HeaderMap,
    pub status: u16,
}

impl Events {
    /// Opens a plain `EventSource` stream.
    pub async fn open(request: Request) -> Self {
        Self::open_raw(request.header("Accept", "text/event-stream")).await
    }

    /// Opens a plain `EventSource` stream, if the connection holds.
    pub async fn try_open(request: Request) -> Option<Self> {
        let response = request.header("Accept", "text/event-stream").open().await.ok()?;
        Some(Self::over(response))
    }

    /// Opens what the request asks for.
    pub async fn open_raw(request: Request) -> Self {
        Self::over(request.open().await.unwrap())
    }

    fn over(response: reqwest::Response) -> Self {
        let (headers, status) = (response.headers().clone(), response.status().as_u16());
        let chunks = response.bytes_stream();
        // A connection that breaks ends the stream, as it does for a browser, which then connects again.
        let chunks = chunks.take_while(|chunk| std::future::ready(chunk.is_ok())).map(|chunk| chunk.unwrap().to_vec());
        Self {
            chunks: chunks.boxed(),
            unread: Vec::new(),
            ready: VecDeque::new(),
            event: Event::default(),
            has_data: false,
            last_id: String::new(),
            headers,
            status,
        }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match within(SOON, "an event", self.chunks.next()).await {
                Some(chunk) => self.push(&chunk),
                None => return None,
            }
        }
    }

    /// Waits for bytes until the stream has told an id, and returns the latest one.
    pub async fn id(&mut self) -> String {
        while self.last_id.is_empty() {
            let chunk = within(SOON, "an id", self.chunks.next()).await.expect("the stream goes on");
            self.push(&chunk);
        }
        self.last_id.clone()
    }

    fn push(&mut self, chunk: &[u8]) {
        self.unread.extend_from_slice(chunk);
        while let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8(line).expect("a stream of events is UTF-8");
            self.line(line.trim_end_matches(['\n', '\r']));
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                self.ready.push_back(Event { id: self.last_id.clone(), ..event });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.event.name),
            "id" => value.clone_into(&mut self.last_id),
            // Comments and `retry` are no events.
            _ => {}
        }
    }
}
