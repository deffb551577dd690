//! Every bound of the hub, named in one place. Nothing in the hub grows without one of these.

use std::time::Duration;

/// Bytes of a topic, filter or service name.
pub const NAME_BYTES_MAX: usize = 512;
/// Levels of a topic name or filter.
pub const NAME_LEVELS_MAX: usize = 32;
/// Bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Headers of one message.
pub const HEADERS_MAX: usize = 64;
/// Bytes of the headers of one message, names and values together.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a producer id.
pub const PRODUCER_ID_BYTES_MAX: usize = 256;
/// Bytes of a `Stream-Seq` value.
pub const STREAM_SEQ_BYTES_MAX: usize = 256;
/// Bytes of a message id.
pub const MESSAGE_ID_BYTES_MAX: usize = 128;
/// What a message id that is remembered counts for besides its length: its place in a map and in a queue.
pub const MESSAGE_ID_OVERHEAD_BYTES: usize = 160;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Bytes of all requests that wait or are being served.
pub const REQUESTS_BYTES_MAX: usize = 256 << 20;
/// Bytes of a member's id in presence.
pub const PRESENCE_ID_BYTES_MAX: usize = 128;
/// Bytes of a member's data in presence.
pub const PRESENCE_DATA_BYTES_MAX: usize = 1024;
/// Members of one snapshot.
pub const PRESENCE_SNAPSHOT_MEMBERS_MAX: usize = 1_000;
/// Changes that are kept of one topic's presence.
pub const PRESENCE_EVENTS_KEPT: u64 = 10_000;
/// Bytes of changes that are kept of one topic's presence, unless the bound of a topic in memory is lower.
pub const PRESENCE_EVENTS_BYTES_KEPT: u64 = 4 << 20;
/// How long the changes of a topic are kept on which nobody is, unless they are followed.
pub const PRESENCE_EMPTY_KEPT: Duration = Duration::from_secs(60);
/// The shortest lease of a poller.
pub const PRESENCE_LEASE_MIN: Duration = Duration::from_secs(30);
/// Producers and epochs count up to 2^53-1, the largest integer JavaScript holds exactly.
pub const PRODUCER_NUMBER_MAX: u64 = (1 << 53) - 1;
/// Messages handed to a follower in one batch.
pub const DELIVERY_MESSAGES_MAX: usize = 512;
/// Payload bytes handed to a follower in one batch; a single larger message goes alone.
pub const DELIVERY_BYTES_MAX: usize = 64 * 1024;
/// Deliveries a fan-out shard makes before it lets others run.
pub const SHARD_TURN_DELIVERIES_MAX: usize = 256;
/// How long a fan-out shard works before it lets others run.
pub const SHARD_TURN_MAX: Duration = Duration::from_millis(1);

/// The bounds an operator can set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Payload bytes of one message. Default 8 MiB.
    pub message_bytes: usize,
    /// Messages of one publish. Default 10,000.
    pub batch_messages: usize,
    /// Payload bytes of one publish. Default 16 MiB.
    pub batch_bytes: usize,
    /// Payload bytes of one read; a single larger message is returned whole. Default 1 MiB.
    pub read_bytes: usize,
    /// Messages of one read. Default 1,000.
    pub read_messages: usize,
    /// Topics in a log; the hub's own, for keyed requests, count apart up to the same number. Default 1,000,000.
    pub topics: usize,
    /// Consumer groups in a log. Default 10,000.
    pub groups: usize,
    /// Members of all groups. Default 100,000.
    pub group_members: usize,
    /// Readers that wait or are pushed to. Default 200,000.
    pub followers: usize,
    /// Readers of one topic, by its name, that wait or are pushed to. Default 200,000.
    pub followers_per_topic: usize,
    /// Different filters that are followed. Default 10,000.
    pub filters: usize,
    /// Bytes of all messages that a memory log keeps; what would exceed it is refused. Default 1 GiB.
    pub memory_log_bytes: u64,
    /// Bytes of all messages that one topic in memory keeps; what would exceed it is refused. Default 1 GiB.
    pub memory_topic_bytes: u64,
    /// Payload bytes of the newest messages kept in memory, over all topics of a log. Default 64 MiB.
    pub tail_bytes: usize,
    /// Messages kept in memory, over all topics of a log. Default 1,000,000.
    pub tail_messages: usize,
    /// Producers remembered for a topic. Default 10,000.
    pub producers_per_topic: usize,
    /// How long an idle producer is remembered. Default 7 days.
    pub producer_idle: Duration,
    /// How long a message id is remembered. Default 10 min.
    pub message_id_window: Duration,
    /// Bytes of the message ids that a log remembers, with 160 bytes for each besides its length; when they are full,
    /// publishes with an id are refused. Default 64 MiB.
    pub message_id_bytes: usize,
    /// Longest wait of a long poll. Default 60 s.
    pub wait_max: Duration,
    /// Longest wait for a reply. Default 300 s.
    pub request_wait_max: Duration,
    /// A reply is awaited this long if nothing else is asked for. Default 30 s.
    pub request_wait: Duration,
    /// Requests that wait for a responder, per service. Default 1,024.
    pub requests_per_service: usize,
    /// Requests that wait or are being served, in the whole hub. Default 65,536.
    pub requests: usize,
    /// Responders attached to the hub. Default 10,000.
    pub responders: usize,
    /// How long a keyed request's reply is kept. Default 24 h.
    pub key_window: Duration,
    /// History reads for lagging readers under way at once. Default 64.
    pub history_reads: usize,
    /// Members in presence, over all topics. Default 100,000.
    pub presence_members: usize,
    /// Members in presence of one topic. Default 10,000.
    pub presence_members_per_topic: usize,
    /// How long a member whose connection was lost has to come back. Default 10 s.
    pub presence_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            batch_messages: 10_000,
            batch_bytes: 16 << 20,
            read_bytes: 1 << 20,
            read_messages: 1_000,
            topics: 1_000_000,
            groups: 10_000,
            group_members: 100_000,
            followers: 200_000,
            followers_per_topic: 200_000,
            filters: 10_000,
            memory_log_bytes: 1 << 30,
            memory_topic_bytes: 1 << 30,
            tail_bytes: 64 << 20,
            tail_messages: 1_000_000,
            producers_per_topic: 10_000,
            producer_idle: Duration::from_secs(7 * 24 * 3600),
            message_id_window: Duration::from_secs(600),
            message_id_bytes: 64 << 20,
            wait_max: Duration::from_secs(60),
            request_wait_max: Duration::from_secs(300),
            request_wait: Duration::from_secs(30),
            requests_per_service: 1_024,
            requests: 65_536,
            responders: 10_000,
            key_window: Duration::from_secs(24 * 3600),
            history_reads: 64,
            presence_members: 100_000,
            presence_members_per_topic: 10_000,
            presence_grace: Duration::from_secs(10),
        }
    }
}
