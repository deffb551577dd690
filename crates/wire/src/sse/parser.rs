//! Reading events, incrementally: push bytes as they come, take events as they are complete. It never waits and
//! never reconnects; it keeps one unfinished event, of bounded size.

use std::collections::VecDeque;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last event id, from this event or an earlier one; empty when there was none.
    pub id: String,
    /// Its name; `message` unless it has one.
    pub name: String,
    /// Its data; `None` when it only moved the id, which an `EventSource` does not show, but a cursor needs.
    pub data: Option<String>,
}

/// An event is larger than the parser may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {bytes_max} bytes")]
pub struct TooLarge {
    /// The limit.
    pub bytes_max: usize,
}

/// The state between two reads.
#[derive(Debug)]
pub struct Parser {
    bytes_max: usize,
    // The line so far, across chunks.
    line: Vec<u8>,
    // The last byte was a CR, so that an LF right after it is part of the same line end.
    after_cr: bool,
    // No line was read yet, so that a byte order mark is passed over.
    first_line: bool,
    data: Vec<u8>,
    has_data: bool,
    has_id: bool,
    name: String,
    id: String,
    retry_ms: Option<u64>,
    events: VecDeque<Event>,
}

impl Parser {
    /// A parser that holds at most `bytes_max` of an unfinished event.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Parser {
            bytes_max,
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            data: Vec::new(),
            has_data: false,
            has_id: false,
            name: String::new(),
            id: String::new(),
            retry_ms: None,
            events: VecDeque::new(),
        }
    }

    /// Takes in more bytes.
    ///
    /// # Errors
    /// When the unfinished event is too large; the stream is then of no use any more.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r'));
            self.line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            if self.line.len() + self.data.len() > self.bytes_max {
                return Err(TooLarge { bytes_max: self.bytes_max });
            }
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line();
        }
        Ok(())
    }

    /// Takes the next complete event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How long the server wants clients to wait before they reconnect, in milliseconds.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.first_line) && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        if line.is_empty() {
            self.dispatch();
        } else {
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            self.field(&line[..colon], value.strip_prefix(b" ").unwrap_or(value));
        }
        // The allocation is kept for the next line.
        line.clear();
        self.line = line;
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.id = String::from_utf8_lossy(value).into_owned();
                self.has_id = true;
            }
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let retry = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                self.retry_ms = retry.or(self.retry_ms);
            }
            // A comment (no name) or a field that this version of the format does not have.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let data = std::mem::take(&mut self.has_data).then(|| text(data));
        if data.is_none() && !self.has_id {
            return;
        }
        self.has_id = false;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push_back(Event { id: self.id.clone(), name, data });
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::event;
    use crate::token::{Cursor, Token};
    use proptest::prelude::*;

    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut parser = Parser::new(1 << 20);
        for chunk in chunks {
            parser.push(chunk).unwrap();
        }
        std::iter::from_fn(|| parser.next_event()).collect()
    }

    fn shown(text: &str) -> Vec<(String, String, Option<String>)> {
        parse([text.as_bytes()]).into_iter().map(|event| (event.id, event.name, event.data)).collect()
    }

    fn an(id: &str, name: &str, data: Option<&str>) -> (String, String, Option<String>) {
        (id.to_owned(), name.to_owned(), data.map(str::to_owned))
    }

    #[test]
    fn the_standards_examples() {
        assert_eq!(shown("data: YHOO\ndata: +2\ndata: 10\n\n"), [an("", "message", Some("YHOO\n+2\n10"))]);
        let text = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        assert_eq!(shown(text), [an("1", "message", Some("first event")), an("", "message", Some("second event"))]);
        assert_eq!(shown("data\n\ndata\ndata\n\ndata:"), [an("", "message", Some("")), an("", "message", Some("\n"))]);
        assert_eq!(shown("\u{feff}event: add\rdata: 7\r\n\r\n"), [an("", "add", Some("7"))]);
        assert_eq!(shown("id: 5\n\n: hi\n\nevent: x\n\n"), [an("5", "message", None)]);
    }

    #[test]
    fn retry_is_a_number() {
        let mut parser = Parser::new(100);
        parser.push(b"retry: 12\nretry: x\nretry: 99999999999999999999999\n").unwrap();
        assert_eq!(parser.retry_ms(), Some(12));
    }

    #[test]
    fn a_large_event_is_refused() {
        let mut parser = Parser::new(10);
        assert_eq!(parser.push(b"data: 12345678901"), Err(TooLarge { bytes_max: 10 }));
    }

    proptest! {
        #[test]
        fn the_split_into_chunks_does_not_matter(
            text in "(data|id|event|retry|x|:|: ?|a|é|\r|\n|\r\n|\u{feff}){0,40}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(parse(chunks), parse([bytes]));
        }

        #[test]
        fn messages_come_back(messages in prop::collection::vec((any::<u64>(), any::<String>()), 0..8)) {
            let mut out = Vec::new();
            for (offset, text) in &messages {
                let cursor = Cursor::from(Token { log: 1, offset: *offset });
                event::message(&mut out, &cursor, "text/plain", text.as_bytes());
            }
            let read = parse(out.chunks(7));
            prop_assert_eq!(read.len(), messages.len());
            for (event, (offset, text)) in read.iter().zip(&messages) {
                prop_assert_eq!(event.id.parse(), Ok(Token { log: 1, offset: *offset }));
                if event.name == "message" {
                    prop_assert_eq!(event.data.as_deref(), Some(text.as_str()));
                } else {
                    prop_assert!(text.contains('\r') && event.name == event::BASE64);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse([&bytes[..]]);
        }
    }
}
