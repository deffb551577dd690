//! One read of a topic over HTTP, at once or waiting, for both ways of polling. When to read is theirs to say.

use std::fmt::Write;
use std::time::Duration;

use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use quintet_wire::envelope::Envelope;
use quintet_wire::problem::kind::Kind;
use quintet_wire::token::{Cursor, Since};
use quintet_wire::{content, header};

use crate::client::{Client, path};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{body, is_true, parse, text, value};
use crate::limits::ANSWER_MAX;
use crate::subscription::Batch;

/// What one read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The messages, in order; none when there is nothing new.
    pub messages: Vec<Envelope>,
    /// Where to read on.
    pub next: Cursor,
    /// Whether this is all there is now.
    pub up_to_date: bool,
    /// Whether nothing will follow.
    pub closed: bool,
    // For `If-None-Match`, as long as the same cursor is read from.
    pub(crate) etag: Option<String>,
}

/// How to read.
#[derive(Debug, Default)]
pub(crate) struct How {
    /// How long the hub may wait for a message; not at all when absent.
    pub(crate) wait: Option<Duration>,
    /// The entity tag of the same read, when it was done before.
    pub(crate) etag: Option<String>,
}

/// Reads once.
pub(crate) async fn read(client: &Client, topic: &str, since: Since, how: How) -> Result<Page, Error> {
    let mut target = path("/topics/", topic)?;
    let offset = offset(since);
    let mut within = ANSWER_MAX;
    write!(target, "?offset={offset}").expect("a string takes every text");
    if let Some(wait) = how.wait {
        within += wait;
        write!(target, "&live=long-poll&timeout={}", wait.as_secs()).expect("a string takes every text");
    }
    client.write_member(&mut target, topic);
    let mut request = client.get(&target).header(ACCEPT, content::ENVELOPES);
    if let Some(etag) = &how.etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let response = client.send_within(request, within).await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let next = match (value(&headers, header::STREAM_NEXT_OFFSET), since) {
        (Ok(next), _) => next,
        // Nothing changed, so the cursor did not either.
        (Err(_), Since::At(cursor)) if status == 304 => cursor,
        (Err(error), _) => return Err(error),
    };
    let messages = if status == 200 { parse(&body(response).await?)? } else { Vec::new() };
    Ok(Page {
        messages,
        next,
        up_to_date: status != 200 || is_true(&headers, header::STREAM_UP_TO_DATE),
        closed: is_true(&headers, header::STREAM_CLOSED),
        etag: text(&headers, ETAG.as_str()).map(str::to_owned),
    })
}

/// What a reader makes of a read.
pub(crate) fn batch(topic: &str, outcome: Result<Page, Error>) -> Result<Batch, Error> {
    let topic = topic.to_owned();
    match outcome {
        Ok(page) => {
            let mut events: Vec<Event> = page.messages.into_iter().map(Event::Message).collect();
            if page.closed {
                events.push(Event::Closed { topic });
            }
            Ok(Batch { events, next: Some(page.next), last: page.closed })
        }
        Err(error) => refusal(&topic, Err(error)),
    }
}

/// Where to begin, as `offset=` has it.
pub(crate) fn offset(since: Since) -> Since {
    if since == Since::Start { Since::At(Cursor::START) } else { since }
}

/// Turns the refusals that are steps on a reader's way into events.
pub(crate) fn refusal(topic: &str, outcome: Result<Batch, Error>) -> Result<Batch, Error> {
    let topic = topic.to_owned();
    match outcome {
        Err(error) if error.is_problem(Kind::Gap) => {
            let first_available = error.problem().and_then(|problem| problem.text("first_available")?.parse().ok());
            let first_available: Cursor = first_available
                .ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub's gap does not say where to go on"))?;
            let events = vec![Event::Gap { topic, first_available }];
            Ok(Batch { events, next: Some(first_available), last: false })
        }
        Err(error) if error.is_problem(Kind::TopicDeleted) => {
            Ok(Batch { events: vec![Event::Deleted { topic }], next: None, last: true })
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_wire::problem::object::Problem;
    use quintet_wire::token::Token;

    #[test]
    fn some_refusals_are_events() {
        let at = Cursor::from(Token { log: 1, offset: 7 });
        let gap = Problem::new(Kind::Gap, "x").with("first_available", at.to_string());
        let read = batch("t", Err(Error::refused(gap, None))).unwrap();
        assert_eq!(read.events, [Event::Gap { topic: "t".into(), first_available: at }]);
        assert_eq!((read.next, read.last), (Some(at), false));
        let deleted = Error::refused(Problem::new(Kind::TopicDeleted, "x"), None);
        assert!(batch("t", Err(deleted)).unwrap().last);
        let stale = Error::refused(Problem::new(Kind::StaleCursor, "x"), None);
        assert!(batch("t", Err(stale)).is_err());
        let page = Page { messages: vec![], next: at, up_to_date: true, closed: true, etag: None };
        assert_eq!(batch("t", Ok(page)).unwrap().events, [Event::Closed { topic: "t".into() }]);
    }
}
