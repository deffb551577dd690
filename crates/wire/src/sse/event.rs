//! Writing events, one per message, for a plain `EventSource`. Its `id:` is the cursor after the message, so that
//! `Last-Event-ID` resumes without loss.

use crate::token::Cursor;
use crate::{content, json, payload};

/// The name of an event whose data is base64, because the payload is no text, or holds a CR, which SSE cannot carry.
pub const BASE64: &str = "base64";
/// The name of an event that tells of messages lost to retention.
pub const GAP: &str = "gap";
/// The name of an event after which nothing follows: the topic is closed.
pub const CLOSED: &str = "closed";
/// The name of an event after which nothing follows: the topic was deleted.
pub const DELETED: &str = "deleted";

/// Appends the beginning of a stream: how long to wait before reconnecting, and the cursor, so that a connection
/// which breaks before the first message loses nothing.
pub fn opening(out: &mut Vec<u8>, retry_ms: u64, cursor: &Cursor) {
    out.extend_from_slice(b"retry: ");
    json::write_u64(out, retry_ms);
    out.push(b'\n');
    id_only(out, cursor);
}

/// Appends a heartbeat: a comment, and the cursor again, which may have moved without messages.
pub fn heartbeat(out: &mut Vec<u8>, cursor: &Cursor) {
    comment(out, "");
    id_only(out, cursor);
}

/// Appends a comment, which no client sees. The text has no line breaks.
pub fn comment(out: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.contains(['\n', '\r']), "a comment is one line");
    out.extend_from_slice(b": ");
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Appends a message's payload as an event: unnamed when it is text or JSON, `base64` otherwise.
pub fn message(out: &mut Vec<u8>, cursor: &Cursor, content_type: &str, bytes: &[u8]) {
    let textual = content::is_text(content_type) || content::is_json(content_type);
    match std::str::from_utf8(bytes) {
        Ok(text) if textual && !text.contains('\r') => event(out, cursor, None, text),
        _ => {
            id(out, cursor);
            name(out, BASE64);
            out.extend_from_slice(b"data: ");
            payload::write_base64(out, bytes);
            out.extend_from_slice(b"\n\n");
        }
    }
}

/// Appends a message as its whole envelope, for a client that asked for both events and envelopes.
pub fn envelope(out: &mut Vec<u8>, cursor: &Cursor, envelope_json: &str) {
    event(out, cursor, None, envelope_json);
}

/// Appends the notice of messages lost to retention. The cursor is where reading goes on.
pub fn gap(out: &mut Vec<u8>, first_available: &Cursor) {
    event(out, first_available, Some(GAP), &format!("{{\"first_available\":\"{first_available}\"}}"));
}

/// Appends the notice that the topic is closed and read to its end.
pub fn closed(out: &mut Vec<u8>, offset: &Cursor) {
    event(out, offset, Some(CLOSED), &format!("{{\"offset\":\"{offset}\"}}"));
}

/// Appends the notice that the topic was deleted.
pub fn deleted(out: &mut Vec<u8>, cursor: &Cursor) {
    event(out, cursor, Some(DELETED), "{}");
}

/// Appends one event. A CR in the data comes out as an LF, as SSE has no way to carry it.
pub fn event(out: &mut Vec<u8>, cursor: &Cursor, event_name: Option<&str>, data: &str) {
    id(out, cursor);
    if let Some(event_name) = event_name {
        name(out, event_name);
    }
    data_lines(out, data);
    out.push(b'\n');
}

/// Appends `data: …` for each line; CR, LF and CRLF all end one, so that no payload can forge a field.
pub(crate) fn data_lines(out: &mut Vec<u8>, data: &str) {
    for_each_line(data, |line| data_line(out, line));
}

/// Calls with each line, whichever way it ends.
pub(crate) fn for_each_line(text: &str, mut visit: impl FnMut(&str)) {
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        visit(&rest[..end]);
        rest = rest[end..].strip_prefix("\r\n").unwrap_or(&rest[end + 1..]);
    }
    visit(rest);
}

pub(crate) fn data_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

fn id_only(out: &mut Vec<u8>, cursor: &Cursor) {
    id(out, cursor);
    out.push(b'\n');
}

fn id(out: &mut Vec<u8>, cursor: &Cursor) {
    out.extend_from_slice(b"id: ");
    cursor.write(out);
    out.push(b'\n');
}

fn name(out: &mut Vec<u8>, event_name: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event_name.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    fn written(write: impl FnOnce(&mut Vec<u8>, &Cursor)) -> String {
        let mut out = Vec::new();
        write(&mut out, &Cursor::from(Token { log: 1, offset: 2 }));
        String::from_utf8(out).unwrap().replace("00000001_0000000000000002", "C")
    }

    #[test]
    fn looks_as_documented() {
        assert_eq!(written(|out, c| opening(out, 1000, c)), "retry: 1000\nid: C\n\n");
        assert_eq!(written(heartbeat), ": \nid: C\n\n");
        assert_eq!(written(|out, c| message(out, c, "text/plain", b"a\nb\n")), "id: C\ndata: a\ndata: b\ndata: \n\n");
        assert_eq!(written(|out, c| message(out, c, "text/plain", b"")), "id: C\ndata: \n\n");
        assert_eq!(written(|out, c| message(out, c, "text/plain", b"a\rb")), "id: C\nevent: base64\ndata: YQ1i\n\n");
        assert_eq!(written(|out, c| message(out, c, "image/png", b"ab")), "id: C\nevent: base64\ndata: YWI=\n\n");
        assert_eq!(written(gap), "id: C\nevent: gap\ndata: {\"first_available\":\"C\"}\n\n");
        assert_eq!(written(closed), "id: C\nevent: closed\ndata: {\"offset\":\"C\"}\n\n");
        assert_eq!(written(deleted), "id: C\nevent: deleted\ndata: {}\n\n");
    }

    #[test]
    fn no_data_can_forge_a_field() {
        let forged = written(|out, c| event(out, c, None, "x\r\n\r\nevent: closed\rid: 9\n"));
        assert_eq!(forged, "id: C\ndata: x\ndata: \ndata: event: closed\ndata: id: 9\ndata: \n\n");
    }
}
