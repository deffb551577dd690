//! What a topic's WebSocket publishes.

use bytes::Bytes;
use quintet_core::access::Operation;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::patterns::publish_subscribe::{IfAbsent, Publish};
use quintet_wire::content;
use quintet_wire::payload;
use quintet_wire::problem::kind::Kind;
use quintet_wire::session::answer;
use quintet_wire::session::command::{BadCommand, Command, Id};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Problem, Result};
use crate::websocket::raw::protocol::Raw;
use crate::websocket::session::publish;

/// A frame of text: one message of the topic's type if that is text or JSON, else plain text.
pub(crate) fn text(raw: &Raw, payload: Bytes) -> impl Future<Output = Result<()>> + Send + 'static {
    publish_as(raw, payload, |topic_type, payload| match topic_type {
        Some(own) if content::is_json(own.as_str()) && !payload::is_json_text(payload) => {
            Err(Problem::new(Kind::BadJson, "on a JSON topic a text frame is one JSON value"))
        }
        Some(own) if content::is_json(own.as_str()) || content::is_text(own.as_str()) => Ok(own),
        _ => Ok(ContentType::parse(content::TEXT)?),
    })
}

/// A binary frame: one message of the topic's type if that is neither text nor JSON, else of unknown bytes.
pub(crate) fn binary(raw: &Raw, payload: Bytes) -> impl Future<Output = Result<()>> + Send + 'static {
    publish_as(raw, payload, |topic_type, _| match topic_type {
        Some(own) if !content::is_json(own.as_str()) && !content::is_text(own.as_str()) => Ok(own),
        _ => Ok(ContentType::octet_stream()),
    })
}

fn publish_as(
    raw: &Raw,
    payload: Bytes,
    choose: fn(Option<ContentType>, &[u8]) -> Result<ContentType>,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let hub = std::sync::Arc::clone(raw.gateway.hub());
    let topic = raw.topic.clone();
    let allowed = raw.access.check(Operation::Publish, &topic);
    let if_absent = if_absent(raw);
    async move {
        allowed?;
        let topic_type = hub.describe(&topic).await.ok().map(|info| info.config.content_type.clone());
        let content_type = Some(choose(topic_type, &payload)?);
        let message = NewMessage { content_type, payload, ..NewMessage::default() };
        hub.publish(Publish { if_absent, ..Publish::new(topic, vec![message]) }).await?;
        Ok(())
    }
}

fn if_absent(raw: &Raw) -> IfAbsent {
    if raw.strict || !raw.gateway.config().create_on_publish { IfAbsent::Refuse } else { IfAbsent::Create }
}

/// A frame of `quintet.envelope`: `{"id":…,"publish":{"data":…}}`, answered as in a session.
pub(crate) fn envelope(raw: &Raw, frame: &str) -> impl Future<Output = String> + Send + 'static {
    let (gateway, access, strict) = (raw.gateway.clone(), raw.access.clone(), raw.strict);
    let parsed = parse(raw.topic.as_str(), frame);
    async move {
        match parsed {
            Ok((id, Command::Publish(mut asked))) => {
                asked.create &= !strict;
                publish::publish(&gateway, &access, &id, asked).await
            }
            Ok((id, Command::Ping)) => publish::pong(&gateway, &id),
            Ok((id, _)) => {
                let detail = "on one topic a frame is a publish or a ping; the rest is for /ws";
                answer::error(Some(&id), Problem::new(Kind::BadRequest, detail).object())
            }
            Err(bad) => answer::error(bad.id.as_ref(), Problem::new(bad.kind, bad.detail).object()),
        }
    }
}

/// The topic goes without saying here; with it, the frame is one of a session.
fn parse(topic: &str, frame: &str) -> Result<(Id, Command), BadCommand> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Frame<'a> {
        id: Id,
        #[serde(borrow)]
        publish: &'a RawValue,
    }
    let Ok(Frame { id, publish }) = serde_json::from_str::<Frame<'_>>(frame) else { return Command::parse(frame) };
    let Some(members) = publish.get().strip_prefix('{') else { return Command::parse(frame) };
    let comma = if members.trim_start().starts_with('}') { "" } else { "," };
    let (id, topic) = (serde_json::to_string(&id), serde_json::to_string(topic));
    match (id, topic) {
        (Ok(id), Ok(topic)) => {
            Command::parse(&format!("{{\"id\":{id},\"publish\":{{\"topic\":{topic}{comma}{members}}}"))
        }
        _ => Command::parse(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_put_in() {
        let (id, command) = parse("a\"b", r#" {"publish": {"data":[1, 2]},"id":"x"} "#).unwrap();
        assert_eq!(id, Id::Text("x".into()));
        let Command::Publish(publish) = command else { panic!("{command:?}") };
        assert_eq!(publish.topic, "a\"b");
        assert_eq!(&publish.messages[0].body.bytes[..], b"[1, 2]");
        assert!(parse("a", r#"{"id":1,"publish":{}}"#).unwrap_err().detail.contains("data"));
        assert!(parse("a", r#"{"id":1,"publish":{"topic":"b","data":1}}"#).is_err());
        assert!(parse("a", r#"{"id":1,"publish":7}"#).is_err());
        assert_eq!(parse("a", r#"{"id":1,"ping":{}}"#).unwrap().1, Command::Ping);
    }
}
