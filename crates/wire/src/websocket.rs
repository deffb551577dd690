//! WebSocket subprotocols and close codes. The frames themselves are the transport's business.

/// The subprotocol of a session; see [`crate::session`].
pub const SESSION: &str = "quintet.v1";
/// The subprotocol of a raw topic socket whose frames are envelopes.
pub const ENVELOPE: &str = "quintet.envelope";

/// Done: the client asked, or the topic is closed and read to its end (reason `closed`).
pub const NORMAL: u16 = 1000;
/// The hub is shutting down; come back.
pub const GOING_AWAY: u16 = 1001;
/// A frame broke the WebSocket protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A text frame was not UTF-8.
pub const INVALID_TEXT: u16 = 1007;
/// A frame was larger than allowed.
pub const TOO_BIG: u16 = 1009;
/// Something in the hub failed.
pub const INTERNAL: u16 = 1011;
/// The frame or the query was not understood.
pub const BAD_REQUEST: u16 = 4400;
/// No valid token.
pub const UNAUTHENTICATED: u16 = 4401;
/// The token does not allow it.
pub const FORBIDDEN: u16 = 4403;
/// No such topic.
pub const NOT_FOUND: u16 = 4404;
/// The client took no bytes for 30 seconds.
pub const SLOW: u16 = 4408;
/// The publish conflicts with the topic: closed, or of another type.
pub const CONFLICT: u16 = 4409;
/// The topic was deleted, or the cursor is from before it was.
pub const GONE: u16 = 4410;
/// Messages were lost to retention; the reason is `first_available <cursor>`.
pub const GAP: u16 = 4416;
/// Too much at once; come back later.
pub const TOO_MANY: u16 = 4429;

/// Whether a client should connect again, unchanged, after this close code.
#[must_use]
pub fn may_reconnect(code: u16) -> bool {
    match code {
        NORMAL | PROTOCOL_ERROR | INVALID_TEXT | TOO_BIG => false,
        4400..=4449 => matches!(code, SLOW | TOO_MANY),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passing_troubles_are_worth_another_try() {
        assert!([GOING_AWAY, INTERNAL, SLOW, TOO_MANY, 1006].into_iter().all(may_reconnect));
        assert!(![NORMAL, TOO_BIG, BAD_REQUEST, UNAUTHENTICATED, CONFLICT, GONE, GAP].into_iter().any(may_reconnect));
    }
}
