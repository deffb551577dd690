//! WebSocket from the client's side: the upgrade, masked text frames out, whole frames in.

use crate::load::http::get;
use crate::load::scripted::Step;

/// The opening handshake on `target`, with `protocol` asked for if it is not empty.
pub(crate) fn upgrade(target: &str, protocol: &str) -> Step {
    let mut headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_owned();
    if !protocol.is_empty() {
        headers.push_str(&format!("Sec-WebSocket-Protocol: {protocol}\r\n"));
    }
    Step { say: get(target, &headers), starts: b"HTTP/1.1 101", ends: b"\r\n\r\n" }
}

/// A text frame. Its mask is zero, which is as good as any and costs the generator nothing.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

/// The whole frames at the front of `bytes`, as payloads, and how many bytes they are.
pub(crate) fn frames(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut frames, mut used) = (Vec::new(), 0);
    while let Some((start, length)) = extent(&bytes[used..]) {
        let Some(payload) = bytes[used..].get(start..start + length) else { break };
        frames.push(payload);
        used += start + length;
    }
    (frames, used)
}

/// Where the payload of the first frame starts and how long it is. Servers do not mask.
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? & 0x7f {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2, usize::from(length))),
    }
}

#[cfg(test)]
mod tests {
    use crate::load::websocket::{frames, text};

    #[test]
    fn frames_come_whole() {
        let long = "x".repeat(300);
        let mut bytes = vec![0x81, 2, b'a', b'b', 0x81, 126, 1, 44];
        bytes.extend_from_slice(long.as_bytes());
        bytes.extend_from_slice(&[0x81, 5, b'c']);
        let (whole, used) = frames(&bytes);
        assert_eq!(whole, [b"ab".as_slice(), long.as_bytes()]);
        assert_eq!(used, bytes.len() - 3);
    }

    #[test]
    fn lengths_have_three_forms() {
        assert_eq!(text("ab"), [0x81, 0x82, 0, 0, 0, 0, b'a', b'b']);
        assert_eq!(text(&"x".repeat(126))[..4], [0x81, 0xfe, 0, 126]);
        assert_eq!(text(&"x".repeat(70_000))[..10], [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }
}
