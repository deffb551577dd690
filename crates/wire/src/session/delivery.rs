//! Deliveries: `{"subscription":1,"messages":[…],"next":"…"}`, written in two parts.
//!
//! What comes after the subscription's number is the same for everyone who receives it, so it is encoded once and
//! shared; only the [`prefix`] differs from one connection to the next.

use crate::json;
use crate::token::{Cursor, Token};

/// Before the shared part on a connection that has no subscriptions: the subprotocol `quintet.envelope`.
pub const BARE_PREFIX: &[u8] = b"{";

/// Appends `{"subscription":1,`.
pub fn prefix(out: &mut Vec<u8>, subscription: u64) {
    out.extend_from_slice(b"{\"subscription\":");
    json::write_u64(out, subscription);
    out.push(b',');
}

/// Writes the shared part, envelope by envelope.
///
/// ```
/// # use quintet_wire::{session::delivery, token::Cursor};
/// let mut out = Vec::new();
/// let mut messages = delivery::Messages::open(&mut out);
/// for envelope in ["{}", "{}"] {
///     messages.next().extend_from_slice(envelope.as_bytes());
/// }
/// messages.close(&Cursor::START);
/// assert!(out.starts_with(br#""messages":[{},{}],"next":"0000"#));
/// ```
#[derive(Debug)]
pub struct Messages<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Messages<'a> {
    /// Begins the shared part.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(b"\"messages\":[");
        Messages { out, empty: true }
    }

    /// Where to write the next envelope, with [`crate::envelope::write`] or from bytes already encoded.
    #[expect(clippy::should_implement_trait, reason = "the vector is lent to the caller, which an iterator cannot")]
    pub fn next(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out
    }

    /// Ends the frame with the cursor after its messages.
    pub fn close(self, next: &Cursor) {
        self.out.extend_from_slice(b"],\"next\":\"");
        next.write(self.out);
        self.out.extend_from_slice(b"\"}");
    }
}

/// The shared part of a gap notice: `"gap":{"topic":…,"first_available":…}}`.
pub fn gap(out: &mut Vec<u8>, topic: &str, first_available: &Cursor) {
    notice(out, "gap", topic, |out| {
        out.extend_from_slice(b",\"first_available\":\"");
        first_available.write(out);
        out.push(b'"');
    });
}

/// The shared part of a notice that a topic is closed and read to its end: `"closed":{"topic":…,"offset":…}}`.
pub fn closed(out: &mut Vec<u8>, topic: &str, offset: Token) {
    notice(out, "closed", topic, |out| {
        out.extend_from_slice(b",\"offset\":\"");
        offset.write(out);
        out.push(b'"');
    });
}

/// The shared part of a notice that a topic is gone: `"deleted":{"topic":…}}`.
pub fn deleted(out: &mut Vec<u8>, topic: &str) {
    notice(out, "deleted", topic, |_| {});
}

fn notice(out: &mut Vec<u8>, name: &str, topic: &str, members: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":{\"topic\":");
    json::write(out, topic);
    members(out);
    out.extend_from_slice(b"}}");
}
