//! Server-sent events (WHATWG HTML section 9.2): [`event`]s for a plain `EventSource`, [`durable`] ones in the framing
//! of the Durable Streams protocol, and a [`parser`] for clients. Not a stream: bytes in, bytes out.

pub mod durable;
pub mod event;
pub mod parser;
