//! Consumer groups as things: put, describe, list, delete, redrive; and one claim or word at a time, over HTTP. Taking
//! part in a group for longer is in [`crate::consumer`].

use std::fmt::Write;
use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;
use quintet_wire::content;
use quintet_wire::duration::Span;
use quintet_wire::groups::{
    Acknowledge, Answered, Delivered, DeliveryId, Description, Extend, GiveBack, NewGroup, Page, Redriven, Results,
};
use reqwest::RequestBuilder;
use serde::Serialize;

use crate::client::{Client, path, query};
use crate::error::{Error, ErrorKind};
use crate::http::json;
use crate::limits::ANSWER_MAX;

/// What to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// At most so many messages; 1 unless told.
    pub max: u32,
    /// How long to wait if there is none (whole seconds); 30 seconds unless told.
    pub wait: Duration,
    /// Who claims; claims of one name are one member. Without a name each claim is a member of its own.
    pub member: String,
}

impl Default for Claim {
    fn default() -> Self {
        Claim { max: 1, wait: Duration::from_secs(30), member: String::new() }
    }
}

impl Client {
    /// Creates a group, sets one up differently, or confirms that it is as asked; tells whether it is new, and what
    /// it is now. What is left out has its default, also when the group is there already.
    ///
    /// Dropping the future abandons the request: whether it was done is then unknown. It can be asked again.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. with `group-exists` when it has another filter.
    pub async fn put_group(&self, group: &str, new: &NewGroup) -> Result<(bool, Description), Error> {
        let response = self.send(self.with_json(Method::PUT, &path("/groups/", group)?, new)?).await?;
        let is_new = response.status() == http::StatusCode::CREATED;
        Ok((is_new, json(response).await?))
    }

    /// What the hub tells about a group: how it is set up, how far it is, who is there.
    ///
    /// Dropping the future abandons the question.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. with `group-not-found`.
    pub async fn describe_group(&self, group: &str) -> Result<Description, Error> {
        json(self.send(self.get(&path("/groups/", group)?)).await?).await
    }

    /// One page of the groups that the caller may see, in order of name, after this one.
    ///
    /// Dropping the future abandons the question.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn groups_page(&self, after: Option<&str>) -> Result<Page, Error> {
        let mut target = "/groups".to_owned();
        if let Some(after) = after {
            write!(target, "?after={}", query(after)).expect("a string takes every text");
        }
        json(self.send(self.get(&target)).await?).await
    }

    /// All groups that the caller may see, in order of name.
    ///
    /// Dropping the future abandons the questions.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn groups(&self) -> Result<Vec<Description>, Error> {
        let mut page = self.groups_page(None).await?;
        let mut groups = page.groups;
        while let Some(after) = page.next {
            page = self.groups_page(Some(&after)).await?;
            groups.append(&mut page.groups);
        }
        Ok(groups)
    }

    /// Deletes a group: its place in the log, and what its members hold. The messages stay in their topics.
    ///
    /// Dropping the future abandons the request: the group may or may not be gone then.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. with `group-not-found`.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.send(self.at(Method::DELETE, &path("/groups/", group)?)).await.map(drop)
    }

    /// Hands a group's dead letters out again. If the answer says that there are more, ask again.
    ///
    /// Dropping the future does not stop what has begun.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. because the group has no topic for dead letters.
    pub async fn redrive(&self, group: &str) -> Result<Redriven, Error> {
        json(self.send(self.at(Method::POST, &below(group, "redrive")?)).await?).await
    }

    /// Claims messages; waits for the first one as long as told, and gives none when there was none in that time.
    /// Each has to be acknowledged with [`ack`](Client::ack) before its time is up.
    ///
    /// Dropping the future withdraws the claim; what the hub had handed out already is handed out again after the
    /// group's `ack_wait`.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. with `group-not-found`.
    pub async fn claim(&self, group: &str, claim: &Claim) -> Result<Vec<Delivered>, Error> {
        let mut target = below(group, "claim")?;
        write!(target, "?max={}&wait={}", claim.max, claim.wait.as_secs()).expect("a string takes every text");
        if !claim.member.is_empty() {
            write!(target, "&member={}", query(&claim.member)).expect("a string takes every text");
        }
        let response = self.send_within(self.at(Method::POST, &target), ANSWER_MAX + claim.wait).await?;
        if response.status() == http::StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        json(response).await
    }

    /// Settles deliveries: their work is done. Tells what became of each, in the order asked. It can be said again.
    ///
    /// Dropping the future abandons the request: whether it was done is then unknown.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn ack(&self, group: &str, deliveries: Vec<DeliveryId>) -> Result<Vec<Answered>, Error> {
        self.say(group, "ack", &Acknowledge { deliveries }).await
    }

    /// Gives deliveries back, to be handed out again after this delay, or after what the group's backoff says.
    ///
    /// Dropping the future abandons the request: whether it was done is then unknown.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn nack(
        &self,
        group: &str,
        deliveries: Vec<DeliveryId>,
        delay: Option<Duration>,
    ) -> Result<Vec<Answered>, Error> {
        self.say(group, "nack", &GiveBack { deliveries, delay: delay.map(Span) }).await
    }

    /// Keeps deliveries for so long from now, or for the group's `ack_wait`.
    ///
    /// Dropping the future abandons the request: whether it was done is then unknown.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn extend(
        &self,
        group: &str,
        deliveries: Vec<DeliveryId>,
        by: Option<Duration>,
    ) -> Result<Vec<Answered>, Error> {
        self.say(group, "extend", &Extend { deliveries, by: by.map(Span) }).await
    }

    async fn say(&self, group: &str, word: &str, body: &impl Serialize) -> Result<Vec<Answered>, Error> {
        let request = self.with_json(Method::POST, &below(group, word)?, body)?;
        let results: Results = json(self.send(request).await?).await?;
        Ok(results.results)
    }

    fn with_json(&self, method: Method, target: &str, body: &impl Serialize) -> Result<RequestBuilder, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::caused(ErrorKind::Invalid, "this cannot be written as JSON", error))?;
        Ok(self.at(method, target).header(CONTENT_TYPE, content::JSON).body(body))
    }
}

fn below(group: &str, word: &str) -> Result<String, Error> {
    Ok(format!("{}/{word}", path("/groups/", group)?))
}
