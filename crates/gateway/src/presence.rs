//! Whom a request makes a member of its topic's presence. What that means is the core's business.

use std::borrow::Cow;

use http::{HeaderMap, Uri};
use quintet_core::access::Access;
use quintet_core::name::TopicName;
use quintet_core::presence::Member;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::config::PresenceMode;
use crate::error::{Problem, Result};
use crate::http::query;

/// The query parameters for those who cannot set headers (`EventSource`, `WebSocket`).
const ID: &str = "presence-id";
const DATA: &str = "presence-data";
const PREFIX: &str = "presence-";

/// The member that reads a topic by this request, if any. A header goes before the parameter of its name.
pub(crate) fn of_request(
    mode: PresenceMode,
    access: &Access,
    topic: &TopicName,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Option<Member>> {
    let id = value(headers, header::PRESENCE_ID, uri, ID)?;
    let data = value(headers, header::PRESENCE_DATA, uri, DATA)?;
    let wish = Wish { id: id.as_deref(), data: data.as_deref() };
    of_reader(mode, access, topic, Some(wish).filter(|wish| wish.id.is_some() || wish.data.is_some()))
}

/// What a reader says that wants to be a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) data: Option<&'a str>,
}

/// The member that reads a topic, by its own wish or because it has a name.
pub(crate) fn of_reader(
    mode: PresenceMode,
    access: &Access,
    topic: &TopicName,
    wish: Option<Wish<'_>>,
) -> Result<Option<Member>> {
    let subject = access.subject();
    let Some(wish) = wish else {
        let is_shown = mode == PresenceMode::Subjects && !topic.is_reserved();
        return Ok(subject.filter(|_| is_shown).and_then(Member::implied));
    };
    if mode == PresenceMode::Off {
        let detail = "presence is switched off on this hub (setting http.presence); leave Presence-Id out";
        return Err(Problem::new(Kind::NotImplemented, detail));
    }
    let Some(id) = wish.id.or(subject) else {
        let detail = "a member needs an id: send Presence-Id (?presence-id=, or `id` on /ws), or a token";
        return Err(Problem::new(Kind::BadRequest, detail));
    };
    Ok(Some(Member::new(id, subject, wish.data)?))
}

fn value<'a>(
    headers: &'a HeaderMap,
    header: &'static str,
    uri: &'a Uri,
    parameter: &str,
) -> Result<Option<Cow<'a, str>>> {
    let Some(value) = headers.get(header) else {
        // Most queries have neither, and are looked through once.
        let may_have = uri.query().is_some_and(|query| query.contains(PREFIX));
        return if may_have { query::parameter(uri, parameter) } else { Ok(None) };
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.into())),
        Err(_) => Err(Problem::new(Kind::BadHeader, format!("{header} is text in UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(mode: PresenceMode, subject: Option<&str>, id: Option<&str>, wanted: Result<Option<(&str, bool)>, u16>) {
        let access = subject.map_or_else(Access::unrestricted, |subject| Access::new(subject, Vec::new()));
        let topic = TopicName::parse("chat").unwrap();
        let member = of_reader(mode, &access, &topic, id.map(|id| Wish { id: Some(id), data: None }));
        let member = member.map_err(|problem| problem.object().status);
        let found =
            member.as_ref().map(|m| m.as_ref().map(|m| (&*m.key().id, m.is_implied()))).map_err(|status| *status);
        assert_eq!(found, wanted);
        let subject_of = member.ok().flatten().and_then(|m| m.key().subject.clone());
        assert!(subject_of.is_none() || subject_of.as_deref() == subject);
    }

    #[test]
    fn who_is_a_member() {
        use PresenceMode::{Explicit, Off, Subjects};
        check(Subjects, None, None, Ok(None));
        check(Subjects, Some("anna"), None, Ok(Some(("anna", true))));
        check(Subjects, Some("anna"), Some("tab"), Ok(Some(("tab", false))));
        check(Subjects, None, Some("tab"), Ok(Some(("tab", false))));
        check(Explicit, Some("anna"), None, Ok(None));
        check(Explicit, Some("anna"), Some("tab"), Ok(Some(("tab", false))));
        check(Off, Some("anna"), None, Ok(None));
        check(Off, None, Some("tab"), Err(501));
        check(Subjects, None, Some(""), Err(400));
    }

    #[test]
    fn headers_go_before_parameters() {
        let mut headers = HeaderMap::new();
        let uri: Uri = "/topics/chat?presence-id=p&presence-data=a%20b".parse().unwrap();
        let topic = TopicName::parse("chat").unwrap();
        let id = |headers: &HeaderMap| {
            let member = of_request(PresenceMode::Explicit, &Access::unrestricted(), &topic, headers, &uri);
            member.map(|member| member.unwrap().key().id.to_string()).map_err(|problem| problem.kind())
        };
        assert_eq!(id(&headers), Ok("p".into()));
        headers.insert("presence-id", HeaderValue::from_bytes("é".as_bytes()).unwrap());
        assert_eq!(id(&headers), Ok("é".into()));
        headers.insert("presence-id", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(id(&headers), Err(Kind::BadHeader));
    }
}
