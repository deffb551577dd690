//! A message with all that belongs to it, as one JSON object. Every transport that keeps message boundaries uses it.
//!
//! ```json
//! {"topic":"chat","offset":"…","previous":"…","time":"2026-01-01T00:00:00.123Z","type":"text/plain","data":"hi"}
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::groups::Delivery;
use crate::payload::{self, BadData, Body, Encoding};
use crate::token::Token;
use crate::{json, time};

/// A message's own headers: unique names, in order.
pub type Headers = BTreeMap<String, String>;

/// What an envelope is written from, all borrowed, so that a hub encodes its messages without copying them first.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The message's own position, which is also the cursor after it.
    pub offset: Token,
    /// The position of the message before it in the topic; offset zero when it is the topic's first.
    pub previous: Token,
    /// When it was published, in Unix milliseconds.
    pub time_ms: u64,
    /// Its content type.
    pub content_type: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Appends one envelope. Header names must be unique.
pub fn write<'h>(out: &mut Vec<u8>, parts: &Parts<'_>, headers: impl IntoIterator<Item = (&'h str, &'h str)>) {
    out.reserve(parts.payload.len() + parts.topic.len() + 192);
    out.extend_from_slice(b"{\"topic\":");
    json::write(out, parts.topic);
    out.extend_from_slice(b",\"offset\":\"");
    parts.offset.write(out);
    out.extend_from_slice(b"\",\"previous\":\"");
    parts.previous.write(out);
    out.extend_from_slice(b"\",\"time\":\"");
    time::write(out, parts.time_ms);
    out.extend_from_slice(b"\",\"type\":");
    json::write(out, parts.content_type);
    json::write_headers(out, headers);
    payload::write_data(out, parts.content_type, parts.payload);
    out.push(b'}');
}

/// An envelope as a client holds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Envelope {
    /// The topic's name.
    pub topic: String,
    /// The message's own position.
    pub offset: Token,
    /// The position of the message before it in the topic.
    pub previous: Token,
    /// When it was published, in Unix milliseconds.
    pub time_ms: u64,
    /// The message's own headers.
    pub headers: Headers,
    /// Its content type and payload.
    pub body: Body,
}

impl Envelope {
    /// The payload's bytes (shared, not copied).
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.body.bytes.clone()
    }

    /// The payload as text, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body.bytes).ok()
    }

    /// Appends the envelope as [`write()`] does.
    pub fn write(&self, out: &mut Vec<u8>) {
        let parts = Parts {
            topic: &self.topic,
            offset: self.offset,
            previous: self.previous,
            time_ms: self.time_ms,
            content_type: &self.body.content_type,
            payload: &self.body.bytes,
        };
        write(out, &parts, self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }

    /// The envelope's JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// The members as they come. Unknown ones are passed over, so that an older client reads a newer hub.
#[derive(Deserialize)]
pub(crate) struct Wire {
    topic: String,
    offset: Token,
    previous: Token,
    #[serde(with = "time::rfc3339")]
    time: u64,
    #[serde(rename = "type")]
    content_type: String,
    #[serde(default)]
    headers: Headers,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    encoding: Option<Encoding>,
    /// Only in what a group hands out.
    pub(crate) delivery: Option<Delivery>,
}

impl TryFrom<Wire> for Envelope {
    type Error = BadData;

    fn try_from(wire: Wire) -> Result<Self, BadData> {
        let data = wire.data.ok_or(BadData::Missing)?;
        let body = payload::read(Some(wire.content_type), Some(data), wire.encoding)?.ok_or(BadData::Missing)?;
        Ok(Envelope {
            topic: wire.topic,
            offset: wire.offset,
            previous: wire.previous,
            time_ms: wire.time,
            headers: wire.headers,
            body,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn bodies() -> impl Strategy<Value = Body> {
        let json = any::<String>().prop_map(|text| Body::json(serde_json::to_string(&text).unwrap()));
        let bytes = prop::collection::vec(any::<u8>(), 0..60).prop_map(Body::octets);
        prop_oneof![any::<String>().prop_map(Body::text), json, bytes]
    }

    pub(crate) fn headers() -> impl Strategy<Value = Headers> {
        prop::collection::btree_map("[a-z-]{1,8}", any::<String>(), 0..4)
    }

    pub(crate) fn envelopes() -> impl Strategy<Value = Envelope> {
        let positions = (1u32.., any::<u64>(), any::<u64>(), 0..=time::UNIX_MS_MAX);
        (any::<String>(), positions, headers(), bodies()).prop_map(|(topic, position, headers, body)| {
            let (log, offset, previous, time_ms) = position;
            let (offset, previous) = (Token { log, offset }, Token { log, offset: previous });
            Envelope { topic, offset, previous, time_ms, headers, body }
        })
    }

    #[test]
    fn looks_as_documented() {
        let parts = Parts {
            topic: "chat/a\"b",
            offset: Token { log: 1, offset: 43 },
            previous: Token { log: 1, offset: 42 },
            time_ms: 1_767_225_600_123,
            content_type: "text/plain",
            payload: b"hi\n",
        };
        let mut out = Vec::new();
        write(&mut out, &parts, [("a", "b")]);
        let expected = concat!(
            r#"{"topic":"chat/a\"b","offset":"00000001_000000000000002b","previous":"00000001_000000000000002a","#,
            r#""time":"2026-01-01T00:00:00.123Z","type":"text/plain","headers":{"a":"b"},"data":"hi\n"}"#,
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn unknown_members_are_passed_over_and_missing_ones_named() {
        let text = concat!(
            r#"{"topic":"t","offset":"00000001_000000000000002b","previous":"00000001_000000000000002a","#,
            r#""time":"2026-01-01T00:00:00Z","type":"application/json","new":[1],"data":null}"#,
        );
        assert_eq!(&serde_json::from_str::<Envelope>(text).unwrap().payload()[..], b"null");
        let error = serde_json::from_str::<Envelope>(&text.replace(r#","data":null"#, "")).unwrap_err();
        assert!(error.to_string().contains("`data` is missing"), "{error}");
    }

    proptest! {
        #[test]
        fn envelopes_come_back(envelope in envelopes()) {
            prop_assert_eq!(serde_json::from_str::<Envelope>(&envelope.to_json()).unwrap(), envelope);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(serde_json::from_slice::<Envelope>(&bytes));
        }
    }
}
