//! Topic names, and filters with MQTT's wildcards over them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::limits::{NAME_BYTES_MAX, NAME_LEVELS_MAX};

/// Before a topic's name: the topic on which is told who comes to it and goes.
const PRESENCE: &str = "$presence/";

/// The name of a topic: levels separated by `/`, e.g. `chat/room-1`.
///
/// At most 512 bytes and 32 levels; no level is empty, `.` or `..`; no control characters; no `+` or `#`. A name whose
/// first level begins with `$` is reserved for the hub itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self> {
        check_levels(text, "topic name")?;
        if text.contains(['+', '#']) {
            return Err(bad("a topic name holds no + or #; those are for filters".into()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the hub keeps this name for itself.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The topic on which is told who comes to this one and goes. The hub's own have none.
    pub fn presence(&self) -> Result<Self> {
        if self.is_reserved() {
            return Err(Error::new(Kind::Forbidden, "names that begin with $ are the hub's own and have no presence"));
        }
        Self::parse(&format!("{PRESENCE}{self}")).map_err(|_| {
            let (bytes, levels) = (NAME_BYTES_MAX - PRESENCE.len(), NAME_LEVELS_MAX - 1);
            bad(format!("with presence a topic name has at most {bytes} bytes and {levels} levels"))
        })
    }

    /// The topic of whose members this one tells, if it is one of those.
    pub fn members_of(&self) -> Option<Self> {
        topic_of_members(&self.0).map(|topic| Self(topic.into()))
    }
}

fn topic_of_members(text: &str) -> Option<&str> {
    text.strip_prefix(PRESENCE).filter(|topic| !topic.starts_with('$'))
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A pattern over topic names: `+` stands for one level, `#` at the end for all the rest (also none).
///
/// As in MQTT 5 section 4.7.2, a wildcard in the first level does not match names that begin with `$`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Arc<str>);

impl Filter {
    /// Checks a filter: the rules of a topic name, and wildcards fill a whole level, `#` only the last one.
    pub fn parse(text: &str) -> Result<Self> {
        check_levels(text, "filter")?;
        let n_levels = text.split('/').count();
        for (i, level) in text.split('/').enumerate() {
            if level.contains('+') && level != "+" || level.contains('#') && level != "#" {
                return Err(bad(format!("in the filter {text:?} a wildcard does not fill its level")));
            }
            if level == "#" && i + 1 != n_levels {
                return Err(bad(format!("in the filter {text:?} the # is not the last level")));
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the filter holds no wildcard and so names one topic.
    pub fn is_exact(&self) -> bool {
        !self.0.split('/').any(|level| matches!(level, "+" | "#"))
    }

    /// The filter of topics of whose members the topics tell that match this one, if it can match no others.
    pub fn members_of(&self) -> Option<Self> {
        topic_of_members(&self.0).map(|filter| Self(filter.into()))
    }

    /// Whether a topic is meant.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let mut levels = topic.as_str().split('/');
        let mut first = true;
        for pattern in self.0.split('/') {
            let reserved = first && topic.is_reserved();
            first = false;
            match (pattern, levels.next()) {
                ("#", _) => return !reserved,
                ("+", Some(_)) if !reserved => {}
                (text, Some(level)) if text == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a service: one level of at most 128 bytes under the rules of a topic name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self> {
        let name = TopicName::parse(text)?;
        if text.contains('/') || text.len() > 128 || name.is_reserved() {
            return Err(bad("a service name is one level of at most 128 bytes and does not begin with $".into()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a topic, for access rules that speak of topics and services alike.
    pub fn as_topic(&self) -> TopicName {
        TopicName(Arc::clone(&self.0))
    }
}

fn check_levels(text: &str, what: &str) -> Result<()> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(bad(format!("a {what} has 1 to {NAME_BYTES_MAX} bytes; this one has {}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(format!("a {what} holds no control characters")));
    }
    let mut n_levels = 0;
    for level in text.split('/') {
        n_levels += 1;
        if matches!(level, "" | "." | "..") {
            return Err(bad(format!("in the {what} {text:?} a level between slashes is empty, . or ..")));
        }
    }
    if n_levels > NAME_LEVELS_MAX {
        return Err(bad(format!("a {what} has at most {NAME_LEVELS_MAX} levels; this one has {n_levels}")));
    }
    Ok(())
}

fn bad(detail: String) -> Error {
    Error::new(Kind::BadName, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, matching: &[&str], other: &[&str]) {
        let filter = Filter::parse(filter).unwrap();
        for name in matching {
            assert!(filter.matches(&TopicName::parse(name).unwrap()), "{filter} should match {name}");
        }
        for name in other {
            assert!(!filter.matches(&TopicName::parse(name).unwrap()), "{filter} should not match {name}");
        }
    }

    #[test]
    fn wildcards_follow_mqtt() {
        check("chat/+", &["chat/a"], &["chat", "chat/a/b", "other/a"]);
        check("chat/#", &["chat", "chat/a", "chat/a/b"], &["chats", "other"]);
        check("#", &["a", "a/b"], &["$presence/a"]);
        check("+/a", &["b/a"], &["$replies/a"]);
        check("$presence/#", &["$presence/a", "$presence"], &["presence/a"]);
        check("a/+/c", &["a/b/c"], &["a/c", "a/b/d"]);
    }

    #[test]
    fn presence_is_told_of_topics_that_are_not_the_hubs_own() {
        let name = |text: &str| TopicName::parse(text).unwrap();
        assert_eq!(name("chat/a").presence().unwrap(), name("$presence/chat/a"));
        assert_eq!(name("$presence/chat/a").members_of(), Some(name("chat/a")));
        for other in ["chat", "$presence", "$presences/chat", "$presence/$replies/x", "$presence/$presence/a"] {
            assert_eq!(name(other).members_of(), None, "{other}");
        }
        assert_eq!(name("$replies/x").presence().unwrap_err().kind(), &Kind::Forbidden);
        assert_eq!(name(&"a".repeat(502)).presence().unwrap().as_str().len(), NAME_BYTES_MAX);
        assert_eq!(name(&"a".repeat(503)).presence().unwrap_err().kind(), &Kind::BadName);
        let filter = |text: &str| Filter::parse(text).unwrap();
        assert_eq!(filter("$presence/chat/#").members_of(), Some(filter("chat/#")));
        assert_eq!(filter("$presence/#").members_of(), Some(filter("#")));
        assert_eq!((filter("$presence").members_of(), filter("+/chat").members_of()), (None, None));
    }

    #[test]
    fn bad_names_are_refused() {
        let deep = ["a"; NAME_LEVELS_MAX + 1].join("/");
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "/a", "a/", "a//b", "a/../b", ".", "a\u{7}", "a/+", "#", &deep, &long] {
            assert!(TopicName::parse(name).is_err(), "{name:?}");
        }
        for filter in ["a/#/b", "a+/b", "a/b#", "", "a//#"] {
            assert!(Filter::parse(filter).is_err(), "{filter:?}");
        }
    }
}
