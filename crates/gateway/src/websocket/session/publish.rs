//! `publish` and `ping`.

use quintet_core::access::{Access, Operation};
use quintet_core::engine::transaction::ProducerStep;
use quintet_core::message::{ContentType, Headers, NewMessage};
use quintet_core::name::TopicName;
use quintet_core::patterns::publish_subscribe as core;
use quintet_core::patterns::publish_subscribe::IfAbsent;
use quintet_wire::session::answer;
use quintet_wire::session::command::{Id, Message, Publish};

use crate::convert;
use crate::error::Result;
use crate::state::Gateway;
use crate::websocket::session::protocol::answer_to;

/// Publishes, and answers when the messages are as durable as their topic promises.
pub(crate) async fn publish(gateway: &Gateway, access: &Access, id: &Id, asked: Publish) -> String {
    answer_to(id, try_publish(gateway, access, asked).await)
}

/// Answers a ping.
pub(crate) fn pong(gateway: &Gateway, id: &Id) -> String {
    answer::ok(id, &answer::Pong { time: gateway.hub().now().0 })
}

async fn try_publish(gateway: &Gateway, access: &Access, asked: Publish) -> Result<answer::Published> {
    let topic = TopicName::parse(&asked.topic)?;
    access.check(Operation::Publish, &topic)?;
    let create = asked.create && gateway.config().create_on_publish;
    let publish = core::Publish {
        topic,
        messages: asked.messages.into_iter().map(new_message).collect::<Result<_>>()?,
        if_absent: if create { IfAbsent::Create } else { IfAbsent::Refuse },
        producer: asked.producer.map(|step| ProducerStep { id: step.id.into(), epoch: step.epoch, seq: step.seq }),
        stream_seq: None,
        message_id: asked.message_id.map(Into::into),
        receipts: asked.receipts,
        close: false,
    };
    let published = gateway.hub().publish(publish).await?;
    let receipt = published
        .receipt
        .map(|receipt| answer::Receipt { readers: receipt.readers as u64, groups: receipt.groups as u64 });
    Ok(answer::Published { offset: convert::token(published.tail), duplicate: published.duplicate, receipt })
}

/// A message as the core takes it.
pub(crate) fn new_message(message: Message) -> Result<NewMessage> {
    Ok(NewMessage {
        content_type: Some(ContentType::parse(&message.body.content_type)?),
        headers: Headers::new(message.headers)?,
        payload: message.body.bytes,
    })
}
