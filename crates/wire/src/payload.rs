//! A payload inside JSON: the members `type`, `data` and `encoding`, which envelopes and session frames share.
//!
//! JSON stands as it is when the type says JSON and the bytes are; text is a string when the type says text and the
//! bytes are UTF-8; everything else is base64. Reading gives the same bytes back, except that white space around a
//! JSON value is not kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{content, json};

/// A content type with the bytes it describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The media type of the bytes.
    pub content_type: String,
    /// The payload.
    pub bytes: Bytes,
}

impl Body {
    /// A body of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Body { content_type: content::TEXT.to_owned(), bytes: Bytes::from(text.into()) }
    }

    /// A body of JSON text; whether it is valid JSON is for the reader to find out.
    pub fn json(json: impl Into<String>) -> Self {
        Body { content_type: content::JSON.to_owned(), bytes: Bytes::from(json.into()) }
    }

    /// A body of bytes about which nothing is known.
    pub fn octets(bytes: impl Into<Bytes>) -> Self {
        Body { content_type: content::OCTETS.to_owned(), bytes: bytes.into() }
    }
}

/// How `data` is written when it is neither JSON nor text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// RFC 4648 section 4, with padding.
    Base64,
}

/// Why `type`, `data` and `encoding` do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadData {
    /// The member is required here.
    #[error("`data` is missing")]
    Missing,
    /// There is nothing that they could describe.
    #[error("`type` and `encoding` describe `data`, which is missing")]
    Orphan,
    /// Not a media type.
    #[error("`type` is not a media type such as `text/plain`")]
    Type,
    /// Base64 is text.
    #[error("`data` with `encoding` `base64` is a string")]
    NotString,
    /// A text or binary type with a JSON value that is no string.
    #[error("`data` of type `{0}` is a string; other JSON values have type `application/json`")]
    NotText(String),
    /// Not the standard alphabet, or wrong padding.
    #[error("`data` is not base64: {0}")]
    Base64(base64::DecodeError),
}

/// Appends `,"type":…,"data":…` and `,"encoding":"base64"` where needed.
pub fn write(out: &mut Vec<u8>, content_type: &str, bytes: &[u8]) {
    json::write_member(out, "type", content_type);
    write_data(out, content_type, bytes);
}

/// Appends `,"data":…` and `,"encoding":"base64"` where needed.
pub fn write_data(out: &mut Vec<u8>, content_type: &str, bytes: &[u8]) {
    if content::is_json(content_type) {
        if is_json_text(bytes) {
            json::write_name(out, "data");
            return out.extend_from_slice(bytes);
        }
    } else if content::is_text(content_type)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return json::write_member(out, "data", text);
    }
    json::write_name(out, "data");
    out.push(b'"');
    write_base64(out, bytes);
    out.extend_from_slice(b"\",\"encoding\":\"base64\"");
}

/// Whether the bytes are one JSON value (RFC 8259), with or without white space around it.
#[must_use]
pub fn is_json_text(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// Puts the three members together; `None` when there is no body at all.
///
/// # Errors
/// When they contradict each other.
pub fn read(
    content_type: Option<String>,
    data: Option<Box<RawValue>>,
    encoding: Option<Encoding>,
) -> Result<Option<Body>, BadData> {
    let Some(data) = data else {
        return if content_type.is_none() && encoding.is_none() { Ok(None) } else { Err(BadData::Orphan) };
    };
    if content_type.as_deref().is_some_and(|content_type| !content::is_valid(content_type)) {
        return Err(BadData::Type);
    }
    let is_string = data.get().starts_with('"');
    let bytes = match (encoding, &content_type) {
        (Some(Encoding::Base64), _) => {
            let text = string(&data).ok_or(BadData::NotString)?;
            Bytes::from(STANDARD.decode(text).map_err(BadData::Base64)?)
        }
        (None, Some(content_type)) if content::is_json(content_type) => raw(data),
        (None, Some(content_type)) => Bytes::from(string(&data).ok_or_else(|| BadData::NotText(content_type.clone()))?),
        (None, None) if is_string => Bytes::from(string(&data).ok_or(BadData::NotString)?),
        (None, None) => raw(data),
    };
    let default = match encoding {
        Some(Encoding::Base64) => content::OCTETS,
        None if is_string => content::TEXT,
        None => content::JSON,
    };
    Ok(Some(Body { content_type: content_type.unwrap_or_else(|| default.to_owned()), bytes }))
}

/// For a serde field `Option<Box<RawValue>>` in which `null` is a value and not an absence.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Appends the bytes in base64.
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("base64 needs four bytes for each three");
    out.truncate(start + written);
}

fn string(data: &RawValue) -> Option<String> {
    serde_json::from_str(data.get()).ok()
}

fn raw(data: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Deserialize)]
    struct Members {
        #[serde(rename = "type")]
        content_type: Option<String>,
        #[serde(default, deserialize_with = "present")]
        data: Option<Box<RawValue>>,
        encoding: Option<Encoding>,
    }

    fn read_text(text: &str) -> Result<Option<Body>, BadData> {
        let members: Members = serde_json::from_str(text).unwrap();
        read(members.content_type, members.data, members.encoding)
    }

    fn round_trip(content_type: &str, bytes: &[u8]) -> Body {
        let mut out = b"{\"x\":0".to_vec();
        write(&mut out, content_type, bytes);
        out.push(b'}');
        read_text(std::str::from_utf8(&out).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn absent_types_follow_the_data() {
        for (text, content_type, bytes) in [
            (r#"{"data":"hi\n"}"#, content::TEXT, "hi\n"),
            (r#"{"data":null}"#, content::JSON, "null"),
            (r#"{"data":{"a": 1.0}}"#, content::JSON, r#"{"a": 1.0}"#),
            (r#"{"data":"AAEC","encoding":"base64"}"#, content::OCTETS, "\0\u{1}\u{2}"),
            (r#"{"data":"hi","type":"application/json"}"#, content::JSON, r#""hi""#),
            (r#"{"data":"hi","type":"image/x-some"}"#, "image/x-some", "hi"),
        ] {
            let expected = Body { content_type: content_type.to_owned(), bytes: Bytes::from(bytes) };
            assert_eq!(read_text(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(read_text("{}"), Ok(None));
    }

    #[test]
    fn contradictions_are_named() {
        assert_eq!(read_text(r#"{"type":"text/plain"}"#), Err(BadData::Orphan));
        assert_eq!(read_text(r#"{"data":1,"type":"text/plain"}"#), Err(BadData::NotText("text/plain".into())));
        assert_eq!(read_text(r#"{"data":1,"encoding":"base64"}"#), Err(BadData::NotString));
        assert_eq!(read_text(r#"{"data":"x","type":"plain"}"#), Err(BadData::Type));
        assert!(matches!(read_text(r#"{"data":"A","encoding":"base64"}"#), Err(BadData::Base64(_))));
    }

    proptest! {
        #[test]
        fn bytes_come_back(
            content_type in prop::sample::select(vec!["text/plain", "application/json", "a/b+json", "image/png"]),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            // A lone digit among random bytes is JSON, of which only the white space around it may be lost.
            let body = round_trip(content_type, &bytes);
            if content::is_json(content_type) {
                prop_assert_eq!(body.bytes.trim_ascii(), bytes.trim_ascii());
            } else {
                prop_assert_eq!(&body.bytes[..], &bytes[..]);
            }
            prop_assert_eq!(body.content_type, content_type);
        }

        #[test]
        fn text_comes_back(text in any::<String>()) {
            prop_assert_eq!(&round_trip("text/plain", text.as_bytes()).bytes[..], text.as_bytes());
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(&round_trip("application/json", json.as_bytes()).bytes[..], json.as_bytes());
        }
    }
}
