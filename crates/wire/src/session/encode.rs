//! Writing commands. Reading them is in `parse`, what they mean in `command`.

use serde::Serialize;

use crate::envelope::Headers;
use crate::payload::Body;
use crate::session::command::{Command, Id, Message, Publish, Reply, Request, Respond, Selector, Subscribe};
use crate::{json, payload};

impl Command {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self, id: &Id) -> String {
        let mut out = b"{\"id\":".to_vec();
        json::write(&mut out, id);
        match self {
            Command::Subscribe(subscribe) => subscribe.write(&mut out),
            Command::Unsubscribe { subscription } => {
                write_number(&mut out, b",\"unsubscribe\":{\"subscription\":", *subscription);
            }
            Command::Publish(publish) => publish.write(&mut out),
            Command::Request(request) => request.write(&mut out),
            Command::Respond(respond) => respond.write(&mut out),
            Command::Reply(reply) => reply.write(&mut out),
            Command::Progress(progress) => {
                out.extend_from_slice(b",\"progress\":{\"request\":");
                json::write(&mut out, &progress.request);
                payload::write(&mut out, &progress.body.content_type, &progress.body.bytes);
                out.push(b'}');
            }
            Command::Unrespond { responder } => {
                write_number(&mut out, b",\"unrespond\":{\"responder\":", *responder);
            }
            Command::Consume(consume) => write_members(&mut out, "consume", consume),
            Command::Ack(ack) => write_members(&mut out, "ack", ack),
            Command::Nack(nack) => write_members(&mut out, "nack", nack),
            Command::Extend(extend) => write_members(&mut out, "extend", extend),
            Command::Credit(credit) => write_members(&mut out, "credit", credit),
            Command::Unconsume(unconsume) => write_members(&mut out, "unconsume", unconsume),
            Command::Ping => out.extend_from_slice(b",\"ping\":{}"),
        }
        out.push(b'}');
        String::from_utf8(out).expect("JSON is UTF-8")
    }
}

impl Subscribe {
    fn write(&self, out: &mut Vec<u8>) {
        let (name, value) = match &self.selector {
            Selector::Topic(topic) => ("topic", topic),
            Selector::Filter(filter) => ("filter", filter),
        };
        out.extend_from_slice(b",\"subscribe\":{\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        json::write(out, value);
        json::write_name(out, "since");
        json::write(out, &self.since);
        if let Some(presence) = &self.presence {
            json::write_name(out, "presence");
            json::write(out, presence);
        }
        out.push(b'}');
    }
}

impl Publish {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"publish\":{\"topic\":");
        json::write(out, &self.topic);
        match self.messages.as_slice() {
            [message] => message.write(out),
            messages => {
                out.extend_from_slice(b",\"messages\":[");
                for (i, message) in messages.iter().enumerate() {
                    out.extend_from_slice(if i == 0 { b"{" } else { b",{" });
                    let start = out.len();
                    message.write(out);
                    // Every member is written with a comma before it; the first has no need of one.
                    out.remove(start);
                    out.push(b'}');
                }
                out.push(b']');
            }
        }
        if let Some(producer) = &self.producer {
            json::write_name(out, "producer");
            json::write(out, producer);
        }
        if let Some(id) = &self.message_id {
            json::write_member(out, "message_id", id);
        }
        if self.receipts {
            out.extend_from_slice(b",\"receipts\":true");
        }
        if !self.create {
            out.extend_from_slice(b",\"create\":false");
        }
        out.push(b'}');
    }
}

impl Message {
    fn write(&self, out: &mut Vec<u8>) {
        payload::write(out, &self.body.content_type, &self.body.bytes);
        write_headers(out, &self.headers);
    }
}

impl Request {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"request\":{\"service\":");
        json::write(out, &self.service);
        json::write_member(out, "method", &self.method);
        json::write_member(out, "path", &self.path);
        json::write_member(out, "query", &self.query);
        write_headers(out, &self.headers);
        write_body(out, self.body.as_ref());
        if let Some(wait) = self.wait {
            json::write_name(out, "wait");
            json::write(out, &wait);
        }
        if let Some(key) = &self.key {
            json::write_member(out, "key", key);
        }
        out.push(b'}');
    }
}

impl Respond {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"respond\":{\"service\":");
        json::write(out, &self.service);
        json::write_name(out, "concurrency");
        json::write_u64(out, u64::from(self.concurrency));
        out.push(b'}');
    }
}

impl Reply {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"reply\":{\"request\":");
        json::write(out, &self.request);
        json::write_name(out, "status");
        json::write_u64(out, u64::from(self.status));
        write_headers(out, &self.headers);
        write_body(out, self.body.as_ref());
        out.push(b'}');
    }
}

pub(crate) fn write_headers(out: &mut Vec<u8>, headers: &Headers) {
    json::write_headers(out, headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
}

pub(crate) fn write_body(out: &mut Vec<u8>, body: Option<&Body>) {
    if let Some(body) = body {
        payload::write(out, &body.content_type, &body.bytes);
    }
}

fn write_members<T: Serialize>(out: &mut Vec<u8>, name: &str, members: &T) {
    json::write_name(out, name);
    json::write(out, members);
}

fn write_number(out: &mut Vec<u8>, before: &[u8], number: u64) {
    out.extend_from_slice(before);
    json::write_u64(out, number);
    out.push(b'}');
}
