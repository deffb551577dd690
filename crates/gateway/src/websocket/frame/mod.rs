//! WebSocket framing (RFC 6455 section 5), the server's side, without any I/O.
//!
//! Bytes go into a [`Parser`](parser::Parser) as they come and whole messages come out; what the hub sends is written
//! by [`mod@write`]. No extension is ever negotiated, so the reserved bits are always zero. Who reads and writes the bytes
//! is not known here.

pub(crate) mod parser;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod write;

use std::borrow::Cow;

use quintet_wire::websocket as code;

/// The longest payload of a control frame (section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// A whole message of a client, or one of its control frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Ping(Cow<'a, [u8]>),
    Pong,
    /// The client closes; the code is what it said, if it said one.
    Close(Option<u16>),
}

/// How a client broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Reserved,
    Opcode,
    Unmasked,
    LongControl,
    FragmentedControl,
    NotMinimal,
    StrayContinuation,
    Interrupted,
    CloseCode,
    NotUtf8,
    TooBig,
}

impl Violation {
    /// The close code that says it (section 7.4.1).
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::NotUtf8 => code::INVALID_TEXT,
            Self::TooBig => code::TOO_BIG,
            Self::Reserved
            | Self::Opcode
            | Self::Unmasked
            | Self::LongControl
            | Self::FragmentedControl
            | Self::NotMinimal
            | Self::StrayContinuation
            | Self::Interrupted
            | Self::CloseCode => code::PROTOCOL_ERROR,
        }
    }

    /// The close reason.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Reserved => "a reserved bit is set, but no extension was agreed on",
            Self::Opcode => "the opcode is reserved",
            Self::Unmasked => "a client masks its frames",
            Self::LongControl => "a control frame holds at most 125 bytes",
            Self::FragmentedControl => "a control frame is not fragmented",
            Self::NotMinimal => "the length is not written in its shortest form",
            Self::StrayContinuation => "a continuation frame without a message to continue",
            Self::Interrupted => "a new message before the last one was finished",
            Self::CloseCode => "a close code that may not be sent",
            Self::NotUtf8 => "text is UTF-8",
            Self::TooBig => "the message is over the limit",
        }
    }
}
