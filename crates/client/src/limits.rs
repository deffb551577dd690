//! The limits of a client, all in one place.

use std::time::Duration;

/// The largest body or frame that is taken from the hub: room for an 8 MiB text of which every byte is escaped.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// How long a connection may take to be made.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the hub may take over an answer that it need not wait for.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long the hub may take none of the bytes that are sent to it.
pub const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long a live connection may be silent; the hub says something every 30 s (WebSocket) or 15 s (events).
pub const SILENCE_MAX: Duration = Duration::from_secs(75);
/// The first reconnection comes within this time,
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// and no later one after more than this.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How many messages a publisher puts into one batch; the hub takes 10,000.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// How many payload bytes a publisher puts into one batch, unless a single message is larger.
pub const BATCH_BYTES_MAX: usize = 512 << 10;
/// How many batches a publisher has under way; the hub stops reading at 256 unwritten answers.
pub const WINDOW_BATCHES_MAX: usize = 64;
/// How many bytes a publisher holds that are not acknowledged, queued ones included.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 16 << 20;
/// What a message costs of [`UNACKNOWLEDGED_BYTES_MAX`] beside its payload, which also bounds how many there are.
pub const MESSAGE_OVERHEAD_BYTES: usize = 256;
/// How many messages wait to be put into a batch.
pub const QUEUE_MESSAGES_MAX: usize = 4_096;
/// How many progress messages of a responder wait to be sent.
pub const QUEUE_PROGRESS_MAX: usize = 64;
/// How many deliveries a consumer speaks of in one command; the hub takes 10,000.
pub const WORDS_MAX: usize = 1_000;
/// How many orders of a consumer are carried out before it looks at the connection again.
pub const ORDERS_MAX: usize = 1_000;
