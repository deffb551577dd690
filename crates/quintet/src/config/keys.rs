//! The table of all settings: one line each. The file, the environment, `--set` and the documentation follow it.

use crate::config::settings::Settings;
use crate::config::slot::Slot;

/// One setting.
pub(crate) struct Key {
    /// Its name in the file, with its table: `limits.message_bytes`.
    pub(crate) name: &'static str,
    /// What it is, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is checked against it by a test"))]
    pub(crate) help: &'static str,
    /// Where it is kept.
    pub(crate) slot: fn(&mut Settings) -> Slot<'_>,
}

impl Key {
    /// Its name in the environment: `QUINTET_LIMITS_MESSAGE_BYTES`.
    pub(crate) fn variable(&self) -> String {
        format!("QUINTET_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The one of these names that somebody probably meant.
pub(crate) fn nearest<'a>(meant: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.into_iter().map(|name| (distance(meant, name), name)).min()?;
    (distance <= meant.len().max(4) / 2).then_some(name)
}

/// How many letters have to be changed, put in or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

macro_rules! keys {
    ($($name:literal $kind:ident $($path:ident).+, $help:literal;)*) => {
        /// All settings but the tokens, in the order of the documentation.
        pub(crate) const KEYS: &[Key] =
            &[$(Key { name: $name, help: $help, slot: |settings| Slot::$kind(&mut settings.$($path).+) },)*];
    };
}

keys! {
    "listen" List listen, "Addresses to listen on, as `host:port`.";
    "data_dir" Path data_dir, "The folder of the disk log; it is made if it is not there.";
    "memory" Flag memory, "Keep everything in memory; nothing outlives the process.";
    "insecure" Flag insecure, "Listen on addresses that others can reach although there are no tokens.";
    "tls_cert" File tls_cert, "The certificate and those that lead to its authority, in PEM; with it the hub speaks HTTPS only.";
    "tls_key" File tls_key, "The certificate's private key, in PEM.";
    "shutdown_timeout" Time shutdown_timeout, "How long an orderly end may take.";
    "log" Text log, "What is logged: `off`, `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,quintet_gateway=debug`.";
    "log_format" LogFormat log_format, "How logs are written to standard error.";
    "allowed_origins" List allowed_origins, "Origins of web pages that may use the hub, e.g. `https://app.example`; `*` for all.";
    "allowed_hosts" List allowed_hosts, "Host names under which the hub is reached, without port; `*` for all. Addresses and `localhost` always are.";

    "limits.message_bytes" Size limits.message_bytes, "Payload of one message.";
    "limits.batch_messages" Count limits.batch_messages, "Messages of one publish.";
    "limits.batch_bytes" Size limits.batch_bytes, "Payloads and headers of one publish.";
    "limits.read_bytes" Size limits.read_bytes, "Payload of one read; a single larger message is returned whole.";
    "limits.read_messages" Count limits.read_messages, "Messages of one read.";
    "limits.topics" Count limits.topics, "Topics.";
    "limits.groups" Count limits.groups, "Consumer groups, of each log.";
    "limits.group_members" Count limits.group_members, "Members of all consumer groups, waiting claims among them.";
    "limits.followers" Count limits.followers, "Readers that wait or are pushed to.";
    "limits.followers_per_topic" Count limits.followers_per_topic, "Readers of one topic that wait or are pushed to.";
    "limits.filters" Count limits.filters, "Different filters that are followed.";
    "limits.memory_log_bytes" Size limits.memory_log_bytes, "What the memory log keeps; what would exceed it is refused.";
    "limits.memory_topic_bytes" Size limits.memory_topic_bytes, "What one topic in the memory log keeps; what would exceed it is refused.";
    "limits.tail_bytes" Size limits.tail_bytes, "Payload of the newest messages kept in memory, of each log.";
    "limits.tail_messages" Count limits.tail_messages, "The newest messages kept in memory, of each log.";
    "limits.producers_per_topic" Count limits.producers_per_topic, "Producers remembered for a topic.";
    "limits.producer_idle" Time limits.producer_idle, "How long an idle producer is remembered.";
    "limits.message_id_window" Time limits.message_id_window, "How long a publish with a `Message-Id` is remembered, so that a repeat is known.";
    "limits.message_id_bytes" Size limits.message_id_bytes, "Ids remembered, of each log: their length, and 160 bytes for each; beyond, publishes with a `Message-Id` are refused.";
    "limits.wait_max" Time limits.wait_max, "Longest wait of a long poll.";
    "limits.request_wait" Time limits.request_wait, "How long a reply is awaited if nothing else is asked for.";
    "limits.request_wait_max" Time limits.request_wait_max, "Longest wait for a reply.";
    "limits.requests_per_service" Count limits.requests_per_service, "Requests that wait for a responder, of one service.";
    "limits.requests" Count limits.requests, "Requests that wait or are being served.";
    "limits.responders" Count limits.responders, "Responders attached.";
    "limits.key_window" Time limits.key_window, "How long the reply to a request with an `Idempotency-Key` is kept.";
    "limits.history_reads" Count limits.history_reads, "Reads of history for lagging readers under way at once.";
    "limits.presence_members" Count limits.presence_members, "Members in presence, over all topics.";
    "limits.presence_members_per_topic" Count limits.presence_members_per_topic, "Members in presence of one topic.";
    "limits.presence_grace" Time limits.presence_grace, "How long a member whose connection was lost has to come back.";

    "store.segment_bytes" Size store.segment_bytes, "A file of the disk log before the next one is begun; at most 1 GiB.";
    "store.checkpoint_log_bytes" Size store.checkpoint_log_bytes, "Log between two checkpoints of the state, unless the state itself is larger.";
    "store.queue_bytes" Size store.queue_bytes, "Publishes that may wait to be written.";
    "store.read_threads" Count store.read_threads, "Threads that read history from the disk.";

    "http.connections" Count http.connections, "Connections open at once.";
    "http.head_time" Time http.head_time, "A request's head has to be complete after so long.";
    "http.headers" Count http.headers, "Header fields of one request.";
    "http.buffer_bytes" Size http.buffer_bytes, "A connection's buffers, and so the bound of a request's head.";
    "http.stalled" Time http.stalled, "A connection whose peer takes no byte for so long is closed.";
    "http.send_buffer_bytes" Size http.send_buffer_bytes, "What the kernel holds for a slow reader.";
    "http.http2_streams" Count http.http2_streams, "Requests at once on one HTTP/2 connection.";
    "http.create_on_publish" Flag doors.create_on_publish, "Whether publishing under `/topics/` creates a topic that does not exist.";
    "http.body_bytes" Size doors.body_bytes, "One request's body.";
    "http.bodies_bytes" Size doors.bodies_bytes, "All request bodies that are being received.";
    "http.body_idle" Time doors.body_idle, "A body that brings nothing for so long is given up.";
    "http.body_time" Time doors.body_time, "A body has to be complete after so long.";
    "http.long_poll_wait" Time doors.long_poll_wait, "How long a long poll waits that does not say.";
    "http.heartbeat" Time doors.heartbeat, "Streams of events tell their cursor so often when nothing happens.";
    "http.sse_rotation" Time doors.sse_rotation, "A `live=sse` stream is ended after so long, so that caches can collapse readers.";
    "http.retry" Time doors.retry, "What an `EventSource` waits before it connects again.";
    "http.presence" Presence doors.presence, "Who is shown in presence, over all doors: nobody, those who ask to be, or these and every token's subject.";

    "websocket.stall" Time doors.websocket.stall, "A client that takes no bytes for so long, although there are some for it, loses its connection.";
    "websocket.ping" Time doors.websocket.ping, "A client from which nothing has come for so long is sent a ping.";
    "websocket.silence" Time doors.websocket.silence, "A client from which nothing has come for so long, no pong either, is taken for dead.";
    "websocket.closing" Time doors.websocket.closing, "How long a closing handshake may take.";
    "websocket.tick" Time doors.websocket.tick, "How exactly the times above are kept.";
    "websocket.send_buffer_bytes" Size doors.websocket.send_buffer_bytes, "What the kernel is asked to hold for one connection (Linux takes twice as much).";
    "websocket.unsent_bytes" Size doors.websocket.unsent_bytes, "Encoded messages held for clients that have not taken them yet, over all connections.";
    "websocket.received_bytes" Size doors.websocket.received_bytes, "Messages of clients that are incomplete or not yet dealt with, over all connections.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("limits.mesage_bytes", names()), Some("limits.message_bytes"));
        assert_eq!(nearest("listn", names()), Some("listen"));
        assert_eq!(nearest("datadir", names()), Some("data_dir"));
        assert_eq!(nearest("something.quite.different", names()), None);
    }

    #[test]
    fn every_default_can_be_written_down_and_read_again() {
        for key in KEYS {
            let mut settings = Settings::default();
            let text = (key.slot)(&mut settings).show();
            assert_eq!((key.slot)(&mut settings).set_text(&text), Ok(()), "{}", key.name);
            assert_eq!((key.slot)(&mut settings).show(), text, "{}", key.name);
        }
    }

    /// The documentation's tables are these lines; a failure prints what they should be.
    #[test]
    fn the_documentation_knows_every_setting() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut missing = String::new();
        let mut defaults = Settings::default();
        for key in KEYS {
            let slot = (key.slot)(&mut defaults);
            let (kind, default) = (slot.kind(), slot.show());
            let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
            let line = format!("| `{}` | {kind} | {default} | `{}` | {} |", key.name, key.variable(), key.help);
            if !text.contains(&line) {
                writeln!(missing, "{line}").unwrap();
            }
        }
        assert!(missing.is_empty(), "docs/operating/configuration.md lacks:\n{missing}");
    }
}
