//! Presence: who is on a topic, and being there oneself.
//!
//! Whoever reads with a client that has a [member](Client::with_member) is on every topic that it reads. Changes are
//! messages of the topic `$presence/{topic}`, read like any other: each is a [`Change`](quintet_wire::presence::Change).

use std::fmt::Write;

use quintet_wire::presence::{Snapshot, TOPIC_PREFIX};
use quintet_wire::session::command::{Presence, Selector};

use crate::client::{Client, path, query};
use crate::error::Error;
use crate::http::json;

impl Client {
    /// Who is on a topic, and the cursor from which [`presence_topic`] tells of every change since.
    ///
    /// More than a thousand members come in several pages, of which the first one's cursor counts: then changes may
    /// tell once more what is in here already.
    ///
    /// Dropping the future abandons the questions.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn presence(&self, topic: &str) -> Result<Snapshot, Error> {
        let target = path("/presence/", topic)?;
        let mut whole: Snapshot = json(self.send(self.get(&target)).await?).await?;
        while let Some(after) = whole.next.take() {
            let page = format!("{target}?after={}", query(&after));
            let mut page: Snapshot = json(self.send(self.get(&page)).await?).await?;
            whole.members.append(&mut page.members);
            whole.next = page.next;
        }
        Ok(whole)
    }

    /// What makes this client a member of a topic that it reads; not of the hub's own.
    pub(crate) fn member_of(&self, topic: &str) -> Option<&Presence> {
        self.member().filter(|_| !topic.starts_with('$'))
    }

    /// The same for what a session subscribes to; filters have no members.
    pub(crate) fn member_of_selected(&self, selector: &Selector) -> Option<Presence> {
        match selector {
            Selector::Topic(topic) => self.member_of(topic).cloned(),
            Selector::Filter(_) => None,
        }
    }

    /// Appends the parameters that say the same over HTTP to a target that has a query.
    pub(crate) fn write_member(&self, target: &mut String, topic: &str) {
        let Some(member) = self.member_of(topic) else { return };
        for (name, value) in [("presence-id", &member.id), ("presence-data", &member.data)] {
            if let Some(value) = value {
                write!(target, "&{name}={}", query(value)).expect("a string takes every text");
            }
        }
    }
}

/// The topic on which is told who comes to a topic and goes.
#[must_use]
pub fn presence_topic(topic: &str) -> String {
    format!("{TOPIC_PREFIX}{topic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_on_topics_but_not_on_the_hubs_own() {
        let client = Client::new("http://h").unwrap().with_member("a&b", Some("x y"));
        let mut target = "/topics/t?offset=now".to_owned();
        client.write_member(&mut target, "t");
        assert_eq!(target, "/topics/t?offset=now&presence-id=a%26b&presence-data=x%20y");
        assert!(client.member_of(&presence_topic("t")).is_none());
        assert!(client.member_of_selected(&Selector::Filter("t/#".into())).is_none());
        assert!(client.member_of_selected(&Selector::Topic("t".into())).is_some());
    }
}
