//! A message: payload, content type, headers, time and its place in the topic's log.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::name::TopicName;

/// A message as the log holds it. Shared, never copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic it was published to.
    pub topic: TopicName,
    /// Its place in the log.
    pub offset: Offset,
    /// The offset of the message before it in the topic (0: none), so that a reader can prove that it missed nothing.
    pub previous: Offset,
    /// When the hub took it.
    pub time: Timestamp,
    /// Its media type.
    pub content_type: ContentType,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
}

impl Message {
    /// Bytes it counts for in limits and retention.
    pub fn size(&self) -> usize {
        self.payload.len() + self.headers.size() + MESSAGE_OVERHEAD_BYTES
    }
}

/// What a message without payload and headers counts for.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// The header that tells consumers what a message's publisher calls it.
pub const MESSAGE_ID: &str = "message-id";

/// A message that is to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Its media type; none means the topic's.
    pub content_type: Option<ContentType>,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
}

/// A media type as it was given (RFC 9110 section 8.3.1); at most 256 bytes of visible ASCII.
#[derive(Clone)]
pub struct ContentType(TypeText);

/// Most messages have one of a few types, which then need no memory and no counting.
#[derive(Clone)]
enum TypeText {
    Known(&'static str),
    Other(Arc<str>),
}

/// Types that are known.
const KNOWN_TYPES: [&str; 6] = [
    "application/octet-stream",
    "application/json",
    "text/plain",
    "text/plain;charset=utf-8",
    "text/plain; charset=utf-8",
    "application/json; charset=utf-8",
];

impl ContentType {
    /// Checks a media type: `type/subtype` and optional parameters, in visible ASCII.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(known) = KNOWN_TYPES.into_iter().find(|known| *known == text) {
            return Ok(Self(TypeText::Known(known)));
        }
        let essence = text.split(';').next().unwrap_or_default().trim();
        let (kind, sub) = essence.split_once('/').unwrap_or_default();
        let token =
            |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
        let visible = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if text.len() > limits::CONTENT_TYPE_BYTES_MAX || !visible || !token(kind) || !token(sub) {
            return Err(Error::new(
                Kind::BadRequest,
                "the content type is not a media type like text/plain or application/json",
            ));
        }
        Ok(Self(TypeText::Other(text.into())))
    }

    /// `application/octet-stream`, what bytes are when nobody says.
    pub fn octet_stream() -> Self {
        Self(TypeText::Known(KNOWN_TYPES[0]))
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            TypeText::Known(text) => text,
            TypeText::Other(text) => text,
        }
    }

    /// `type/subtype` without parameters, as it was given.
    pub fn essence(&self) -> &str {
        self.as_str().split(';').next().unwrap_or_default().trim_end()
    }

    /// Whether both name the same media type, whatever their parameters and case.
    pub fn matches(&self, other: &Self) -> bool {
        self.essence().eq_ignore_ascii_case(other.essence())
    }
}

impl PartialEq for ContentType {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.as_str(), other.as_str());
        std::ptr::eq(one, other) || one == other
    }
}

impl Eq for ContentType {}

impl Hash for ContentType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContentType").field(&self.as_str()).finish()
    }
}

/// A message's headers, in order; names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Option<Arc<[Header]>>);

/// A name and its value.
type Header = (Box<str>, Box<str>);

impl Headers {
    /// No headers; costs nothing.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Checks and takes headers: names are RFC 9110 tokens and are lower-cased, values hold no control characters.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        let mut taken: Vec<Header> = Vec::new();
        let mut bytes = 0;
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(Error::new(Kind::BadName, format!("{name:?} is not a header name (RFC 9110 section 5.1)")));
            }
            if value.chars().any(char::is_control) {
                return Err(Error::new(
                    Kind::BadRequest,
                    format!("the value of header {name} holds control characters"),
                ));
            }
            bytes += name.len() + value.len();
            taken.push((name.to_ascii_lowercase().into(), value.into()));
        }
        if taken.len() > limits::HEADERS_MAX || bytes > limits::HEADERS_BYTES_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!(
                    "a message holds at most {} headers of {} bytes in all",
                    limits::HEADERS_MAX,
                    limits::HEADERS_BYTES_MAX
                ),
            ));
        }
        Ok(if taken.is_empty() { Self(None) } else { Self(Some(taken.into())) })
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|pairs| pairs.iter()).map(|(name, value)| (&**name, &**value))
    }

    /// The first value of a header; the name is lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes of names and values.
    pub fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}
