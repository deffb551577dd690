//! The numbers of the wire formats under which a batch keeps its encodings: one for each way its bytes are shared.

use quintet_core::batch::Format;

/// `[envelope,…]`, the body of a read that accepts envelopes.
pub(crate) const ENVELOPES: Format = Format(1);
/// One server-sent event a message, its data the payload.
pub(crate) const EVENTS: Format = Format(10);
/// One server-sent event a message, its data the envelope.
pub(crate) const ENVELOPE_EVENTS: Format = Format(11);
/// One `data` event of Durable Streams for the whole batch.
pub(crate) const DURABLE_EVENTS: Format = Format(12);
/// The same with its bytes in base64 whatever their type, for readers that were there before the topic was.
pub(crate) const DURABLE_BASE64: Format = Format(13);
// 20 to 29 are the WebSocket door's.
