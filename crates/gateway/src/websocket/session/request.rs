//! `request`: ask a service, and answer with its reply.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use quintet_core::access::Operation;
use quintet_core::hub::Hub;
use quintet_core::message::{ContentType, Headers};
use quintet_core::name::ServiceName;
use quintet_core::patterns::request_response::request::{Answer, Reply, Request};
use quintet_wire::header;
use quintet_wire::payload::Body;
use quintet_wire::problem::kind::Kind;
use quintet_wire::session::answer;
use quintet_wire::session::command as wire;
use quintet_wire::session::command::Id;

use crate::convert;
use crate::error::{Problem, Result};
use crate::websocket::session::REQUESTS_MAX;
use crate::websocket::session::protocol::{Session, refusal};

impl Session {
    /// Checks a request; `n_waiting` are those of this session that wait already.
    pub(crate) fn request(&self, n_waiting: usize, _id: &Id, asked: wire::Request) -> Result<Request> {
        if n_waiting >= REQUESTS_MAX {
            let detail =
                format!("{REQUESTS_MAX} requests of this session wait for replies; await some, or open another");
            return Err(Problem::new(Kind::TooMany, detail));
        }
        let service = ServiceName::parse(&asked.service)?;
        self.access.check(Operation::Request, &service.as_topic())?;
        if Method::from_bytes(asked.method.as_bytes()).is_err() {
            return Err(Problem::new(Kind::BadRequest, "`method` is a method as in HTTP, e.g. POST"));
        }
        if !asked.path.starts_with('/') {
            return Err(Problem::new(Kind::BadRequest, "`path` begins with /"));
        }
        let (content_type, body) = split(asked.body)?;
        Ok(Request {
            headers: Headers::new(asked.headers)?,
            query: asked.query,
            content_type,
            body,
            wait: asked.wait.map(seconds).transpose()?,
            caller: self.access.subject().unwrap_or_default().to_owned(),
            key: asked.key,
            ..Request::new(service, &asked.method, &asked.path)
        })
    }
}

/// Asks, and waits for the reply.
pub(crate) async fn ask(hub: &Arc<Hub>, id: &Id, asked: Request) -> String {
    match hub.request(asked).await {
        Ok(Answer::Reply { reply, replayed }) => answer::response(id, &response(reply, replayed)),
        Ok(Answer::Accepted { reply_topic }) => {
            let headers = [("location".to_owned(), format!("/topics/{reply_topic}"))].into();
            answer::response(id, &answer::Response { status: 202, headers, body: None })
        }
        Err(error) => refusal(id, &error.into()),
    }
}

fn response(reply: Reply, replayed: bool) -> answer::Response {
    let mut headers: quintet_wire::envelope::Headers =
        convert::unique(&reply.headers).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if replayed {
        headers.insert(header::IDEMPOTENT_REPLAYED.to_owned(), "true".to_owned());
    }
    answer::Response { status: reply.status, headers, body: join(reply.content_type.as_ref(), reply.body) }
}

/// A wire body as type and bytes.
pub(crate) fn split(body: Option<Body>) -> Result<(Option<ContentType>, bytes::Bytes)> {
    Ok(match body {
        Some(body) => (Some(ContentType::parse(&body.content_type)?), body.bytes),
        None => (None, bytes::Bytes::new()),
    })
}

/// Type and bytes as a wire body.
pub(crate) fn join(content_type: Option<&ContentType>, bytes: bytes::Bytes) -> Option<Body> {
    if content_type.is_none() && bytes.is_empty() {
        return None;
    }
    let content_type =
        content_type.map_or_else(|| ContentType::octet_stream().as_str().to_owned(), |t| t.as_str().to_owned());
    Some(Body { content_type, bytes })
}

fn seconds(wait: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(wait).map_err(|_| Problem::new(Kind::BadRequest, "`wait` is a number of seconds"))
}
