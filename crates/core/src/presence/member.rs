//! Who can be on a topic: an id, the proven name behind it, and data; and how long these may be.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::limits::{PRESENCE_DATA_BYTES_MAX, PRESENCE_ID_BYTES_MAX};

/// What tells one member from another: its id together with its subject, so that nobody can pass for somebody else by
/// choosing their id. Ordered by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    /// The id that was chosen, or else the subject.
    pub id: Arc<str>,
    /// The name that the caller has proven, if any.
    pub subject: Option<Arc<str>>,
}

/// Somebody who comes to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub(super) key: MemberKey,
    pub(super) data: Option<Arc<str>>,
    /// Nobody asked for this membership: a reader that cannot have it reads all the same.
    pub(super) implied: bool,
}

impl Member {
    /// A member that asked to be one: an id of 1 to 128 bytes without control characters, the proven name behind it,
    /// and at most 1 KiB of data. No data leaves what the member has as it is; empty data takes it away.
    pub fn new(id: &str, subject: Option<&str>, data: Option<&str>) -> Result<Self> {
        if id.is_empty() || id.len() > PRESENCE_ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(Error::new(
                Kind::BadRequest,
                format!("a member's id has 1 to {PRESENCE_ID_BYTES_MAX} bytes and no control characters"),
            ));
        }
        if data.is_some_and(|data| data.len() > PRESENCE_DATA_BYTES_MAX) {
            return Err(Error::new(
                Kind::TooLarge,
                format!("a member's data has at most {PRESENCE_DATA_BYTES_MAX} bytes; publish the rest to a topic"),
            ));
        }
        let id: Arc<str> = id.into();
        // Mostly the one is the other, and then they are kept once.
        let subject = subject.map(|subject| if *subject == *id { Arc::clone(&id) } else { subject.into() });
        Ok(Self { key: MemberKey { id, subject }, data: data.map(Into::into), implied: false })
    }

    /// A caller that is a member because it has a name, without having asked to be one. None if the name cannot be an
    /// id.
    pub fn implied(subject: &str) -> Option<Self> {
        Self::new(subject, Some(subject), None).ok().map(|member| Self { implied: true, ..member })
    }

    /// Whether nobody asked for it.
    pub fn is_implied(&self) -> bool {
        self.implied
    }

    /// What tells it from others.
    pub fn key(&self) -> &MemberKey {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_data_have_their_bounds() {
        let kind =
            |id: &str, data: Option<&str>| Member::new(id, None, data).map_err(|error| error.kind().clone()).err();
        assert_eq!(kind("anna", Some(&"x".repeat(1024))), None);
        assert_eq!(kind(&"x".repeat(128), None), None);
        assert_eq!(kind("", None), Some(Kind::BadRequest));
        assert_eq!(kind(&"x".repeat(129), None), Some(Kind::BadRequest));
        assert_eq!(kind("a\nb", None), Some(Kind::BadRequest));
        assert_eq!(kind("a", Some(&"x".repeat(1025))), Some(Kind::TooLarge));
        assert!(Member::implied("").is_none() && Member::implied("anna").is_some());
    }
}
