//! Reading commands: one frame, one command, nothing unknown. Its members are in `members`.

use serde::Deserialize;

use crate::problem::kind::Kind;
use crate::session::command::{BadCommand, Command, ID_BYTES_MAX, Id};
use crate::session::groups::{Ack, Consume, Credit, Extend, Nack, Unconsume};
use crate::session::members::{
    PingWire, ProgressWire, PublishWire, Refusal, ReplyWire, RequestWire, RespondWire, SubscribeWire, UnrespondWire,
    UnsubscribeWire, shape,
};

const COMMANDS: &str = "subscribe, unsubscribe, publish, request, respond, reply, progress, unrespond, consume, ack, \
                        nack, extend, credit, unconsume, ping";

/// Reads one command.
pub(crate) fn command(text: &str) -> Result<(Id, Command), BadCommand> {
    let frame = match serde_json::from_str::<Frame>(text) {
        Ok(frame) => frame,
        Err(error) => return Err(refuse(readable_id(text), &error)),
    };
    if matches!(&frame.id, Id::Text(id) if id.len() > ID_BYTES_MAX) {
        return Err(bad(None, Kind::BadRequest, format!("`id` is longer than {ID_BYTES_MAX} bytes")));
    }
    let id = frame.id.clone();
    match frame.command() {
        Ok(command) => Ok((id, command)),
        Err((kind, detail)) => Err(bad(Some(id), kind, detail)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a command such as {\"id\":1,\"subscribe\":{\"topic\":\"chat\"}}")]
struct Frame {
    id: Id,
    subscribe: Option<SubscribeWire>,
    unsubscribe: Option<UnsubscribeWire>,
    publish: Option<PublishWire>,
    request: Option<RequestWire>,
    respond: Option<RespondWire>,
    reply: Option<ReplyWire>,
    progress: Option<ProgressWire>,
    unrespond: Option<UnrespondWire>,
    consume: Option<Consume>,
    ack: Option<Ack>,
    nack: Option<Nack>,
    extend: Option<Extend>,
    credit: Option<Credit>,
    unconsume: Option<Unconsume>,
    ping: Option<PingWire>,
}

impl Frame {
    fn command(self) -> Result<Command, Refusal> {
        let n_commands = [
            self.subscribe.is_some(),
            self.unsubscribe.is_some(),
            self.publish.is_some(),
            self.request.is_some(),
            self.respond.is_some(),
            self.reply.is_some(),
            self.progress.is_some(),
            self.unrespond.is_some(),
            self.consume.is_some(),
            self.ack.is_some(),
            self.nack.is_some(),
            self.extend.is_some(),
            self.credit.is_some(),
            self.unconsume.is_some(),
            self.ping.is_some(),
        ];
        match n_commands.into_iter().filter(|named| *named).count() {
            1 => {}
            0 => {
                return Err(shape(format!("a frame names a command, one of: {COMMANDS}")));
            }
            _ => {
                return Err(shape("a frame names one command only; send the others in frames of their own".into()));
            }
        }
        if let Some(wire) = self.subscribe {
            wire.command()
        } else if let Some(wire) = self.unsubscribe {
            Ok(Command::Unsubscribe { subscription: wire.subscription })
        } else if let Some(wire) = self.publish {
            wire.command()
        } else if let Some(wire) = self.request {
            wire.command()
        } else if let Some(wire) = self.respond {
            wire.command()
        } else if let Some(wire) = self.reply {
            wire.command()
        } else if let Some(wire) = self.progress {
            wire.command()
        } else if let Some(wire) = self.unrespond {
            Ok(Command::Unrespond { responder: wire.responder })
        } else {
            self.of_groups()
        }
    }

    fn of_groups(self) -> Result<Command, Refusal> {
        if let Some(consume) = self.consume {
            if consume.credit == 0 {
                return Err(shape("`credit` is at least 1".into()));
            }
            Ok(Command::Consume(consume))
        } else if let Some(ack) = self.ack {
            Ok(Command::Ack(ack))
        } else if let Some(nack) = self.nack {
            Ok(Command::Nack(nack))
        } else if let Some(extend) = self.extend {
            Ok(Command::Extend(extend))
        } else if let Some(credit) = self.credit {
            Ok(Command::Credit(credit))
        } else if let Some(unconsume) = self.unconsume {
            Ok(Command::Unconsume(unconsume))
        } else {
            Ok(Command::Ping)
        }
    }
}

/// Details repeat what the client sent, which may be large; the beginning is enough to find it again.
const DETAIL_BYTES_MAX: usize = 1_000;

fn bad(id: Option<Id>, kind: Kind, mut detail: String) -> BadCommand {
    if detail.len() > DETAIL_BYTES_MAX {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        detail.push('…');
    }
    BadCommand { id, kind, detail }
}

fn refuse(id: Option<Id>, error: &serde_json::Error) -> BadCommand {
    let kind = if error.is_data() { Kind::BadRequest } else { Kind::BadJson };
    bad(id, kind, error.to_string())
}

/// The id of a frame that is otherwise wrong, so that the client learns which of its commands that was.
fn readable_id(text: &str) -> Option<Id> {
    #[derive(Deserialize)]
    struct Lenient {
        id: Id,
    }
    let id = serde_json::from_str::<Lenient>(text).ok()?.id;
    if matches!(&id, Id::Text(text) if text.len() > ID_BYTES_MAX) { None } else { Some(id) }
}
