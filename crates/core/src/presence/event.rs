//! What `$presence/{topic}` holds: one small JSON object for each change, written here because the core has no serializer.

use crate::message::{ContentType, Headers, NewMessage};
use crate::presence::member::MemberKey;

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It has come.
    Join,
    /// Its data is another one.
    Update,
    /// It is gone.
    Leave,
}

/// The message that tells of a change.
pub(super) fn message(json: &ContentType, change: Change, key: &MemberKey, data: Option<&str>) -> NewMessage {
    let event = match change {
        Change::Join => "join",
        Change::Update => "update",
        Change::Leave => "leave",
    };
    let mut out = String::with_capacity(64 + key.id.len() + data.map_or(0, str::len));
    out.push_str("{\"event\":\"");
    out.push_str(event);
    out.push_str("\",\"id\":");
    write_text(&mut out, &key.id);
    for (name, value) in [("subject", key.subject.as_deref()), ("data", data)] {
        if let Some(value) = value {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":");
            write_text(&mut out, value);
        }
    }
    out.push('}');
    NewMessage { content_type: Some(json.clone()), headers: Headers::none(), payload: out.into() }
}

/// A JSON string (RFC 8259 section 7).
fn write_text(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                let code = char as usize;
                out.push_str("\\u00");
                out.push(char::from(HEX[code >> 4]));
                out.push(char::from(HEX[code & 0xf]));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: Change, id: &str, subject: Option<&str>, data: Option<&str>, wanted: &str) {
        let json = ContentType::parse("application/json").unwrap();
        let key = MemberKey { id: id.into(), subject: subject.map(Into::into) };
        let message = message(&json, change, &key, data);
        assert_eq!(std::str::from_utf8(&message.payload).unwrap(), wanted);
    }

    #[test]
    fn changes_are_json() {
        check(Change::Join, "anna", None, None, r#"{"event":"join","id":"anna"}"#);
        check(Change::Leave, "a", Some("b"), None, r#"{"event":"leave","id":"a","subject":"b"}"#);
        let data = "\u{1}\"\\\n\u{1f}é\u{7f}/";
        let wanted = "{\"event\":\"update\",\"id\":\"a\\\"\",\"data\":\"\\u0001\\\"\\\\\\u000a\\u001fé\u{7f}/\"}";
        check(Change::Update, "a\"", None, Some(data), wanted);
    }
}
