//! Frames that the hub sends: never masked, never fragmented.

use bytes::Bytes;

use crate::websocket::frame::{CLOSE, CONTROL_BYTES_MAX};

const FIN: u8 = 0x80;
/// The longest header of an unmasked frame.
pub(crate) const HEADER_BYTES_MAX: usize = 10;

/// The header of a frame whose payload has this many bytes (section 5.2), and its length.
pub(crate) fn header(opcode: u8, payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let first = FIN | opcode;
    let length = payload_bytes as u64;
    let [a, b, c, d, e, f, g, h] = length.to_be_bytes();
    match length {
        0..=125 => ([first, h, 0, 0, 0, 0, 0, 0, 0, 0], 2),
        126..=0xffff => ([first, 126, g, h, 0, 0, 0, 0, 0, 0], 4),
        _ => ([first, 127, a, b, c, d, e, f, g, h], HEADER_BYTES_MAX),
    }
}

/// Appends the same.
pub(crate) fn push_header(out: &mut Vec<u8>, opcode: u8, payload_bytes: usize) {
    let (header, n) = header(opcode, payload_bytes);
    out.extend_from_slice(header.get(..n).unwrap_or_default());
}

/// A whole frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    push_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// A close frame; the reason is cut to what fits.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
    frame(CLOSE, &payload)
}

/// Where the frame ends that the byte at `at - 1` belongs to, in bytes that are whole frames of the hub.
pub(crate) fn frame_end(frames: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let payload_bytes = match frames.get(end..).unwrap_or_default() {
            [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                usize::try_from(length).unwrap_or(usize::MAX).saturating_add(10)
            }
            [_, length, ..] => 2 + usize::from(*length),
            _ => return frames.len(),
        };
        end = end.saturating_add(payload_bytes).min(frames.len());
    }
    end
}
