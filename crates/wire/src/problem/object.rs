//! The problem object itself (RFC 9457 section 3), the same over HTTP and in the `error` of a `/ws` answer.

use std::fmt;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::problem::kind::Kind;

/// One problem, as it is sent and received.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Which one; [`Kind::Unknown`] when a newer hub sent it.
    pub kind: Kind,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do next.
    pub detail: String,
    /// Further members, such as `first_available`.
    pub members: Map<String, Value>,
}

impl Problem {
    /// A problem without further members, with its kind's own status.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Problem { kind, status: kind.status(), detail: detail.into(), members: Map::new() }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// A member's text, e.g. the cursor `first_available`.
    #[must_use]
    pub fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member)?.as_str()
    }

    /// Whether the same request may well succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            Kind::Unknown => self.status >= 500 || self.status == 429 || self.status == 408,
            kind => kind.is_retryable(),
        }
    }

    /// The object as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        crate::json::write(&mut out, self);
        out
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.kind.title(), self.status, self.detail)
    }
}

impl std::error::Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4 + self.members.len()))?;
        map.serialize_entry("type", &self.kind.path())?;
        map.serialize_entry("title", self.kind.title())?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("detail", &self.detail)?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Problem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Map::deserialize(deserializer)?;
        let mut take = |name: &str| members.remove(name);
        // Every member is optional (RFC 9457 section 3.1): a proxy in between may send very bare ones.
        let kind = match take("type") {
            Some(Value::String(path)) => Kind::from_path(&path),
            _ => Kind::Unknown,
        };
        let title = take("title");
        let status = match take("status") {
            Some(status) => status.as_u64().and_then(|status| u16::try_from(status).ok()),
            None => Some(kind.status()),
        };
        let status = status.ok_or_else(|| D::Error::custom("a problem's status is an HTTP status"))?;
        let detail = match (take("detail"), title) {
            (Some(Value::String(detail)), _) | (_, Some(Value::String(detail))) => detail,
            _ => String::new(),
        };
        Ok(Problem { kind, status, detail, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_documented_and_comes_back() {
        let problem = Problem::new(Kind::Gap, "read on from first_available").with("first_available", "C");
        let json = String::from_utf8(problem.to_json()).unwrap();
        let expected = concat!(
            r#"{"type":"/problems/gap","title":"messages were lost to retention","status":410,"#,
            r#""detail":"read on from first_available","first_available":"C"}"#
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        assert_eq!(problem.text("first_available"), Some("C"));
    }

    #[test]
    fn strangers_are_understood_as_far_as_it_goes() {
        let problem: Problem = serde_json::from_str(r#"{"title":"Bad Gateway","status":502}"#).unwrap();
        assert_eq!((problem.kind, problem.detail.as_str()), (Kind::Unknown, "Bad Gateway"));
        assert!(problem.is_retryable());
        assert!(
            !serde_json::from_str::<Problem>(r#"{"type":"/problems/of-2040","status":409}"#).unwrap().is_retryable()
        );
    }
}
