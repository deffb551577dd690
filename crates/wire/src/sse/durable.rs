//! Events in the framing of the Durable Streams protocol (section 5.8): `data` for each batch, then `control`.

use serde::{Deserialize, Serialize};

use crate::sse::event::for_each_line;
use crate::token::Cursor;
use crate::{content, json, payload};

/// The data of a `control` event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Where to read on from.
    pub stream_next_offset: Cursor,
    /// What to echo in the next request, for caches; absent when the topic is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_cursor: Option<String>,
    /// Whether the client has read all there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub up_to_date: bool,
    /// Whether nothing will follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream_closed: bool,
}

/// Whether the data of a topic with this type is base64, which the header `stream-sse-data-encoding` then says.
#[must_use]
pub fn is_base64(content_type: &str) -> bool {
    !content::is_text(content_type) && !content::is_application_json(content_type)
}

/// Appends one `data` event with the payloads of a batch: a JSON array of them, their text, or their bytes in base64.
///
/// The topic's type decides, as the protocol wants it: bytes that are no UTF-8 in a text topic are replaced, and a
/// CR comes out as an LF. JSON payloads must be valid.
pub fn data<'p>(out: &mut Vec<u8>, content_type: &str, payloads: impl IntoIterator<Item = &'p [u8]>) {
    out.extend_from_slice(b"event: data\n");
    if content::is_application_json(content_type) {
        tight_line(out, "[");
        let mut payloads = payloads.into_iter().peekable();
        while let Some(payload) = payloads.next() {
            tight_lines(out, &String::from_utf8_lossy(payload));
            if payloads.peek().is_some() {
                // The comma goes to the end of the payload's last line.
                out.pop();
                out.extend_from_slice(b",\n");
            }
        }
        tight_line(out, "]");
    } else {
        // Joined first: a character or a base64 triple may lie across two payloads.
        let joined = payloads.into_iter().fold(Vec::new(), |mut joined, payload| {
            joined.extend_from_slice(payload);
            joined
        });
        if content::is_text(content_type) {
            tight_lines(out, &String::from_utf8_lossy(&joined));
        } else {
            out.extend_from_slice(b"data:");
            payload::write_base64(out, &joined);
            out.push(b'\n');
        }
    }
    out.push(b'\n');
}

fn tight_lines(out: &mut Vec<u8>, text: &str) {
    for_each_line(text, |line| tight_line(out, line));
}

/// A line of data without the space that may stand behind the colon, unless the line begins with one itself. To a
/// parser both are the same (WHATWG HTML, 9.2.6); the protocol's conformance suite looks for this one.
fn tight_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(if line.starts_with(' ') { b"data: " } else { b"data:" });
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

/// Appends a `control` event.
pub fn control(out: &mut Vec<u8>, control: &Control) {
    out.extend_from_slice(b"event: control\ndata:");
    json::write(out, control);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_text(content_type: &str, payloads: &[&[u8]]) -> String {
        let mut out = Vec::new();
        data(&mut out, content_type, payloads.iter().copied());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn data_events() {
        let json = data_text("application/json", &[br#"{"k":"v"}"#, b"{\n}"]);
        assert_eq!(json, "event: data\ndata:[\ndata:{\"k\":\"v\"},\ndata:{\ndata:}\ndata:]\n\n");
        let text = data_text("text/plain", &["é".as_bytes().split_at(1).0, "é".as_bytes().split_at(1).1, b"\r\nb"]);
        assert_eq!(text, "event: data\ndata:é\ndata:b\n\n");
        assert_eq!(data_text("text/plain", &[b" a"]), "event: data\ndata:  a\n\n");
        assert_eq!(data_text("image/png", &[b"a", b"bc"]), "event: data\ndata:YWJj\n\n");
        assert_eq!(data_text("image/png", &[]), "event: data\ndata:\n\n");
    }

    #[test]
    fn control_events() {
        let open = Control {
            stream_next_offset: Cursor::START,
            stream_cursor: Some("7".into()),
            up_to_date: true,
            stream_closed: false,
        };
        let mut out = Vec::new();
        control(&mut out, &open);
        let expected = concat!(
            "event: control\ndata:{\"streamNextOffset\":\"00000000_0000000000000000\",",
            "\"streamCursor\":\"7\",\"upToDate\":true}\n\n"
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }
}
