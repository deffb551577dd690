//! The listing of topics, `GET /topics`: serde types for both ends.

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// One page of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In order of name.
    pub topics: Vec<Description>,
    /// The name after which the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// What the hub tells about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub topic: String,
    /// Its content type.
    #[serde(rename = "type")]
    pub content_type: String,
    /// `disk` or `memory`.
    pub durability: String,
    /// The position just before its first message that is still there.
    pub first: Token,
    /// Its tail: where a reader that has read everything stands.
    pub next: Token,
    /// Whether nothing can be added any more.
    pub closed: bool,
    /// When it was created, as Unix milliseconds.
    #[serde(with = "crate::time::rfc3339")]
    pub created: u64,
    /// How many messages it holds.
    pub messages: u64,
    /// How many payload bytes it holds.
    pub bytes: u64,
    /// Seconds without reads and writes after which it expires.
    pub ttl: Option<u64>,
    /// The time at which it expires, RFC 3339.
    pub expires_at: Option<String>,
}
