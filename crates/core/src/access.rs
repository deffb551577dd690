//! Who may do what: operations on topics, told by filters.
//!
//! How a caller proves who they are (a token, later a JWT) is the gateway's business; what that allows is decided here.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::name::{Filter, TopicName};

/// What a caller can do with a topic or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Read, wait, be pushed to, list and describe.
    Subscribe,
    /// Publish, and so create a topic by publishing.
    Publish,
    /// Create, close and delete topics.
    Manage,
    /// Send requests to a service.
    Request,
    /// Serve requests to a service.
    Respond,
}

impl Operation {
    /// All of them with the names that configurations use.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("subscribe", Self::Subscribe),
        ("publish", Self::Publish),
        ("manage", Self::Manage),
        ("request", Self::Request),
        ("respond", Self::Respond),
    ];

    /// The name used in configurations.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, operation)| *operation == self).map_or("", |(name, _)| name)
    }
}

/// Some operations on the topics (or services) that match a filter.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What is allowed.
    pub operations: Vec<Operation>,
    /// On which names.
    pub filters: Vec<Filter>,
}

/// What a caller has proven themselves by, kept with what it allows. It is told when that was not enough, so that
/// somebody can look into it.
pub trait Credential: fmt::Debug + Send + Sync {
    /// An operation on a name (or on all that a filter matches) was refused.
    fn refused(&self, subject: Option<&str>, operation: Operation, name: &str);
}

/// Who a caller is and what they may do.
#[derive(Debug, Clone)]
pub struct Access {
    subject: Option<Arc<str>>,
    grants: Option<Arc<[Grant]>>,
    credential: Option<Arc<dyn Credential>>,
}

impl Access {
    /// May do everything: what a hub without tokens gives to everybody.
    pub fn unrestricted() -> Self {
        Self { subject: None, grants: None, credential: None }
    }

    /// A named caller with these grants and nothing else.
    pub fn new(subject: &str, grants: Vec<Grant>) -> Self {
        Self { subject: Some(subject.into()), grants: Some(grants.into()), credential: None }
    }

    /// The same, proven by this.
    #[must_use]
    pub fn with_credential(self, credential: Arc<dyn Credential>) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// The caller's name, if they have proven one.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Whether an operation on a name is allowed. Names that begin with `$replies/` cannot be guessed and so are
    /// readable by whoever knows them; who is on a topic (`$presence/…`) may be known to who may read the topic.
    pub fn allows(&self, operation: Operation, name: &TopicName) -> bool {
        if operation == Operation::Subscribe
            && let Some(topic) = name.members_of()
        {
            return self.allows(operation, &topic);
        }
        if operation == Operation::Subscribe && name.as_str().starts_with("$replies/") {
            return true;
        }
        let Some(grants) = &self.grants else { return true };
        grants
            .iter()
            .any(|grant| grant.operations.contains(&operation) && grant.filters.iter().any(|f| f.matches(name)))
    }

    /// The same as a result that says what is missing.
    pub fn check(&self, operation: Operation, name: &TopicName) -> Result<()> {
        if self.allows(operation, name) {
            return Ok(());
        }
        let detail = format!("this token does not allow {} on {name}; use one whose grants do", operation.name());
        Err(self.refuse(operation, name.as_str(), detail))
    }

    /// An operation on a name, or on all that a filter matches, is refused for this reason.
    pub fn refuse(&self, operation: Operation, name: &str, detail: impl Into<String>) -> Error {
        if let Some(credential) = &self.credential {
            credential.refused(self.subject(), operation, name);
        }
        Error::new(Kind::Forbidden, detail.into())
    }

    /// Whether everything a filter can match may be read: some grant's filter covers it.
    pub fn check_filter(&self, filter: &Filter) -> Result<()> {
        if self.allows_all(Operation::Subscribe, filter) {
            return Ok(());
        }
        let detail = format!("this token does not allow subscribe on all of {filter}; subscribe to a narrower filter");
        Err(self.refuse(Operation::Subscribe, filter.as_str(), detail))
    }

    /// Whether an operation is allowed on everything that a filter can match: some grant's filter covers it.
    pub fn allows_all(&self, operation: Operation, filter: &Filter) -> bool {
        if operation == Operation::Subscribe
            && let Some(topics) = filter.members_of()
        {
            return self.allows_all(operation, &topics);
        }
        let Some(grants) = &self.grants else { return true };
        grants
            .iter()
            .filter(|grant| grant.operations.contains(&operation))
            .any(|grant| grant.filters.iter().any(|outer| covers(outer, filter)))
    }

    /// The same as a result that says what is missing.
    pub fn check_all(&self, operation: Operation, filter: &Filter) -> Result<()> {
        if self.allows_all(operation, filter) {
            return Ok(());
        }
        let detail =
            format!("this token does not allow {} on all of {filter}; use one whose grants do", operation.name());
        Err(self.refuse(operation, filter.as_str(), detail))
    }
}

/// Whether `outer` matches every name that `inner` matches.
fn covers(outer: &Filter, inner: &Filter) -> bool {
    let mut inner_levels = inner.as_str().split('/');
    let mut first = true;
    for pattern in outer.as_str().split('/') {
        let level = inner_levels.next();
        let reserved = first && level.is_some_and(|l| l.starts_with('$'));
        first = false;
        match (pattern, level) {
            ("#", _) => return !reserved,
            ("+", Some(level)) if level != "#" && !reserved => {}
            (text, Some(level)) if text == level => {}
            _ => return false,
        }
    }
    inner_levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_covered_only_as_a_whole() {
        let check = |outer: &str, inner: &str| covers(&Filter::parse(outer).unwrap(), &Filter::parse(inner).unwrap());
        assert!(check("#", "a/+/#"));
        assert!(check("a/+", "a/+"));
        assert!(check("a/#", "a/b/#"));
        assert!(check("a/#", "a"));
        assert!(!check("a/+", "a/#"));
        assert!(!check("a/+", "+/b"));
        assert!(!check("#", "$presence/#"));
        assert!(!check("a/b", "a/+"));
    }

    #[test]
    fn grants_bind_operations_to_names() {
        let grant = Grant { operations: vec![Operation::Publish], filters: vec![Filter::parse("chat/#").unwrap()] };
        let access = Access::new("anna", vec![grant]);
        let topic = |name| TopicName::parse(name).unwrap();
        assert!(access.allows(Operation::Publish, &topic("chat/a")));
        assert!(!access.allows(Operation::Subscribe, &topic("chat/a")));
        assert!(!access.allows(Operation::Publish, &topic("other")));
        assert!(access.allows(Operation::Subscribe, &topic("$replies/abc")));
        let filter = |text| Filter::parse(text).unwrap();
        assert!(access.check_all(Operation::Publish, &filter("chat/+")).is_ok());
        assert!(access.check_all(Operation::Publish, &filter("#")).is_err());
        assert!(access.check_all(Operation::Manage, &filter("chat/a")).is_err());
        assert!(Access::unrestricted().check_all(Operation::Manage, &filter("#")).is_ok());
    }

    #[test]
    fn presence_is_for_who_may_read_the_topic() {
        let access = |filters: &[&str]| {
            let filters = filters.iter().map(|filter| Filter::parse(filter).unwrap()).collect();
            Access::new("anna", vec![Grant { operations: vec![Operation::Subscribe], filters }])
        };
        let topic = |access: &Access, name| access.allows(Operation::Subscribe, &TopicName::parse(name).unwrap());
        let filter = |access: &Access, filter| access.check_filter(&Filter::parse(filter).unwrap()).is_ok();
        let chat = access(&["chat/#"]);
        assert!(topic(&chat, "$presence/chat/a") && topic(&chat, "$presence/chat"));
        assert!(!topic(&chat, "$presence/other") && !topic(&chat, "$presence") && !topic(&chat, "$presence/$x"));
        assert!(filter(&chat, "$presence/chat/#") && filter(&chat, "$presence/chat/+"));
        assert!(!filter(&chat, "$presence/#") && !filter(&chat, "$presence/+") && !filter(&chat, "$presence/+/a"));
        let all = access(&["#"]);
        assert!(topic(&all, "$presence/chat/a") && filter(&all, "$presence/#"));
        assert!(!topic(&all, "$keys/a") && !topic(&all, "$presence/$keys/a") && !filter(&all, "$presence/$keys/#"));
        // Only the topic counts, not the name under which its members are told.
        let named = access(&["$presence/#"]);
        assert!(!topic(&named, "$presence/chat") && !filter(&named, "$presence/chat") && !topic(&named, "chat"));
        let publisher = Access::new(
            "ben",
            vec![Grant { operations: vec![Operation::Publish], filters: vec![Filter::parse("#").unwrap()] }],
        );
        assert!(!topic(&publisher, "$presence/chat"));
    }
}
