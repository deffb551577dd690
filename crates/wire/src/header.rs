//! Names of the HTTP headers that the gateway and the clients agree on, lower-cased as the `http` crate wants them.

/// Where to read on from (Durable Streams).
pub const STREAM_NEXT_OFFSET: &str = "stream-next-offset";
/// `true` when the answer holds all there is now (Durable Streams).
pub const STREAM_UP_TO_DATE: &str = "stream-up-to-date";
/// `true` when nothing will follow (Durable Streams).
pub const STREAM_CLOSED: &str = "stream-closed";
/// A value to echo in the next live read, for caches (Durable Streams).
pub const STREAM_CURSOR: &str = "stream-cursor";
/// Seconds without reads and writes after which a topic expires (Durable Streams).
pub const STREAM_TTL: &str = "stream-ttl";
/// The time at which a topic expires (Durable Streams).
pub const STREAM_EXPIRES_AT: &str = "stream-expires-at";
/// The application's own order of writes (Durable Streams).
pub const STREAM_SEQ: &str = "stream-seq";
/// `base64` when `data` events are (Durable Streams section 5.8).
pub const STREAM_SSE_DATA_ENCODING: &str = "stream-sse-data-encoding";
/// Who publishes exactly once (Durable Streams section 5.2.1).
pub const PRODUCER_ID: &str = "producer-id";
/// The producer's incarnation.
pub const PRODUCER_EPOCH: &str = "producer-epoch";
/// The number of this batch within the epoch.
pub const PRODUCER_SEQ: &str = "producer-seq";
/// On a producer gap: the number that was expected.
pub const PRODUCER_EXPECTED_SEQ: &str = "producer-expected-seq";
/// On a producer gap: the number that came.
pub const PRODUCER_RECEIVED_SEQ: &str = "producer-received-seq";
/// What the publisher calls what it publishes, so that a repeat is known.
pub const MESSAGE_ID: &str = "message-id";
/// Seconds for which messages are retained.
pub const QUINTET_RETAIN_AGE: &str = "quintet-retain-age";
/// How many messages are retained.
pub const QUINTET_RETAIN_COUNT: &str = "quintet-retain-count";
/// How many bytes are retained.
pub const QUINTET_RETAIN_BYTES: &str = "quintet-retain-bytes";
/// `disk` or `memory`.
pub const QUINTET_DURABILITY: &str = "quintet-durability";
/// On a receipt: how many readers were there to see a publish.
pub const QUINTET_READERS: &str = "quintet-readers";
/// On a receipt: how many consumer groups will hand it out.
pub const QUINTET_GROUPS: &str = "quintet-groups";
/// Before the name of a message's own header.
pub const QUINTET_HEADER_PREFIX: &str = "quintet-header-";
/// A caller's key under which a request runs once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `true` when the reply is a stored one.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
/// What a client prefers (RFC 7240).
pub const PREFER: &str = "prefer";
/// Which preferences held (RFC 7240).
pub const PREFERENCE_APPLIED: &str = "preference-applied";
/// Where an `EventSource` was when its connection broke.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// What a reader is called in presence.
pub const PRESENCE_ID: &str = "presence-id";
/// What a reader says of itself in presence.
pub const PRESENCE_DATA: &str = "presence-data";
/// A claimed request's id.
pub const REQUEST_ID: &str = "request-id";
/// A claimed request's method.
pub const REQUEST_METHOD: &str = "request-method";
/// A claimed request's path within the service.
pub const REQUEST_PATH: &str = "request-path";
/// A claimed request's query.
pub const REQUEST_QUERY: &str = "request-query";
/// How often the request was handed out, this time included.
pub const REQUEST_ATTEMPT: &str = "request-attempt";
/// Seconds, in decimal, until the caller gives up.
pub const REQUEST_DEADLINE: &str = "request-deadline";
/// Before the name of a header the caller sent.
pub const REQUEST_HEADER_PREFIX: &str = "request-header-";
/// The status the caller will see.
pub const REPLY_STATUS: &str = "reply-status";
/// Before the name of a header the caller will see.
pub const REPLY_HEADER_PREFIX: &str = "reply-header-";
