//! Who is on a topic: the snapshot of `GET /presence/{topic}` and the changes on `$presence/{topic}`, as serde types for
//! both ends.

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// What comes before a topic's name in the name of the topic that tells of its members.
pub const TOPIC_PREFIX: &str = "$presence/";

/// Parts the id and the subject in `next`; neither can hold it unless it was given by who configures the hub.
const SEPARATOR: char = '\u{1f}';

/// Who is on a topic, or one page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The topic.
    pub topic: String,
    /// In the order of their ids.
    pub members: Vec<Member>,
    /// How many there are in all.
    pub count: usize,
    /// Reading `$presence/{topic}` from here shows every change since. With several pages, the first one's counts.
    pub cursor: Token,
    /// What `after` has to be for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Somebody who is on a topic. Id and subject together tell one from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The id that was chosen, or else the subject.
    pub id: String,
    /// The name that was proven by a token, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the member says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// When it came, in Unix milliseconds.
    #[serde(with = "crate::time::rfc3339")]
    pub since: u64,
}

/// A message of `$presence/{topic}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub event: Event,
    /// The member's id.
    pub id: String,
    /// Its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its data from now on; none on `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// What can happen to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It has come.
    Join,
    /// Its data is another one.
    Update,
    /// It is gone.
    Leave,
}

/// The place behind a member, as `next` and `after` have it.
#[must_use]
pub fn place(id: &str, subject: Option<&str>) -> String {
    match subject {
        None => id.to_owned(),
        Some(subject) => format!("{id}{SEPARATOR}{subject}"),
    }
}

/// The id and the subject of a place.
#[must_use]
pub fn parse_place(place: &str) -> (&str, Option<&str>) {
    match place.split_once(SEPARATOR) {
        None => (place, None),
        Some((id, subject)) => (id, Some(subject)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        for at in [("anna", None), ("anna", Some("a")), ("a b/é", Some(""))] {
            assert_eq!(parse_place(&place(at.0, at.1)), at);
        }
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let text = r#"{"event":"join","id":"anna"}"#;
        let change: Change = serde_json::from_str(text).unwrap();
        assert_eq!((change.event, change.data.is_none()), (Event::Join, true));
        assert_eq!(serde_json::to_string(&change).unwrap(), text);
    }
}
