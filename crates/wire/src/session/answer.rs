//! What the hub answers: `{"id":1,"ok":{…}}` or `{"id":1,"error":{…}}`, one for each command.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::Headers;
use crate::json;
use crate::payload::{self, BadData, Body, Encoding};
use crate::problem::object::Problem;
use crate::session::command::Id;
use crate::session::encode::{write_body, write_headers};
use crate::token::{Cursor, Token};

/// Answers `unsubscribe`, `reply`, `progress` and `unrespond`: `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Answers `subscribe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The number that its deliveries carry.
    pub subscription: u64,
    /// Where it begins.
    pub cursor: Cursor,
}

/// Answers `publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The position of the last message of the batch; for a duplicate, that of the first one if it is known by its
    /// message id, or else the topic's tail.
    pub offset: Token,
    /// Whether the batch had been stored before.
    pub duplicate: bool,
    /// Who was there to see it, if that was asked for and it is not a duplicate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// Who was there to see a publish at the moment when it became visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Readers that waited for the topic or were pushed to.
    pub readers: u64,
    /// Consumer groups that will hand it out.
    pub groups: u64,
}

/// Answers `respond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Responding {
    /// The number that its requests carry.
    pub responder: u64,
}

/// Answers `ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The hub's time in Unix milliseconds.
    #[serde(with = "crate::time::rfc3339")]
    pub time: u64,
}

/// Answers `request`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ResponseWire")]
pub struct Response {
    /// The responder's HTTP status.
    pub status: u16,
    /// The responder's headers.
    pub headers: Headers,
    /// Content type and payload, if any.
    pub body: Option<Body>,
}

/// Writes a successful answer; `ok` is one of this module's types but [`Response`], which has [`response`].
#[must_use]
pub fn ok<T: Serialize>(id: &Id, ok: &T) -> String {
    frame(Some(id), b",\"ok\":", |out| json::write(out, ok))
}

/// Writes a responder's reply as the answer to `request`.
#[must_use]
pub fn response(id: &Id, response: &Response) -> String {
    frame(Some(id), b",\"ok\":{\"status\":", |out| {
        json::write_u64(out, u64::from(response.status));
        write_headers(out, &response.headers);
        write_body(out, response.body.as_ref());
        out.push(b'}');
    })
}

/// Writes a refusal; without an id when the command's own could not be read.
#[must_use]
pub fn error(id: Option<&Id>, problem: &Problem) -> String {
    frame(id, b",\"error\":", |out| json::write(out, problem))
}

fn frame(id: Option<&Id>, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"{\"id\":".to_vec();
    json::write(&mut out, &id);
    out.extend_from_slice(name);
    write(&mut out);
    out.push(b'}');
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[derive(Deserialize)]
struct ResponseWire {
    status: u16,
    #[serde(default)]
    headers: Headers,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
}

impl TryFrom<ResponseWire> for Response {
    type Error = BadData;

    fn try_from(wire: ResponseWire) -> Result<Self, BadData> {
        let body = payload::read(wire.content_type, wire.data, wire.encoding)?;
        Ok(Response { status: wire.status, headers: wire.headers, body })
    }
}
