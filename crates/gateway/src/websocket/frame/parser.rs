//! The incremental parser. Between messages it holds nothing but its own few bytes.
//!
//! A message that lies whole in the bytes at hand is unmasked in place and lent out; only what is incomplete is
//! copied, and memory for it grows with what has come, not with what was announced.

use std::borrow::Cow;

use crate::websocket::frame::text;
use crate::websocket::frame::{BINARY, CLOSE, CONTINUATION, CONTROL_BYTES_MAX, Message, PING, PONG, TEXT, Violation};

/// The longest header of a masked frame: two bytes, a length of eight, a mask of four.
const HEADER_BYTES_MAX: usize = 14;

/// Parses what one client sends.
#[derive(Debug)]
pub(crate) struct Parser {
    /// The largest message taken, over all its fragments.
    bytes_max: usize,
    /// The header as far as it has come.
    header: [u8; HEADER_BYTES_MAX],
    n_header: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// What has come of a message or frame that is incomplete.
    pending: Option<Box<Pending>>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    last: bool,
    mask: [u8; 4],
    remaining: usize,
}

#[derive(Debug, Default)]
struct Pending {
    /// The opcode of the message; 0 if none is under way.
    opcode: u8,
    message: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    checked: usize,
    /// A control frame in the midst of it.
    control: Vec<u8>,
}

impl Parser {
    /// A parser that takes messages up to this size.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, header: [0; HEADER_BYTES_MAX], n_header: 0, frame: None, pending: None }
    }

    /// Bytes of an incomplete message that are held.
    pub(crate) fn held(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.message.capacity())
    }

    /// The next message in the bytes that came, which are used up; none when more bytes are needed.
    ///
    /// After a violation the parser is of no more use.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Message<'a>>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.read_header(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let n = frame.remaining.min(input.len());
            if n == 0 && frame.remaining > 0 {
                return Ok(None);
            }
            let payload = take(input, n);
            unmask(payload, frame.mask);
            let payload: &'a [u8] = payload;
            let complete = n == frame.remaining;
            self.frame = (!complete).then(|| frame.after(n));
            let message = if frame.is_control() {
                self.control(frame.opcode, payload, complete)?
            } else {
                self.data(frame, payload, complete)?
            };
            if message.is_some() || !complete {
                return Ok(message);
            }
        }
    }

    fn control<'a>(&mut self, opcode: u8, payload: &'a [u8], complete: bool) -> Result<Option<Message<'a>>, Violation> {
        let earlier = self.pending.as_ref().is_some_and(|pending| !pending.control.is_empty());
        if complete && !earlier {
            return control_message(opcode, Cow::Borrowed(payload)).map(Some);
        }
        let pending = self.pending.get_or_insert_default();
        pending.control.extend_from_slice(payload);
        if !complete {
            return Ok(None);
        }
        let payload = std::mem::take(&mut pending.control);
        self.release();
        control_message(opcode, Cow::Owned(payload)).map(Some)
    }

    fn data<'a>(&mut self, frame: Frame, payload: &'a [u8], complete: bool) -> Result<Option<Message<'a>>, Violation> {
        let whole = complete && frame.last;
        let started = self.pending.as_ref().is_some_and(|pending| pending.opcode != 0);
        if whole && !started {
            return Ok(Some(match frame.opcode {
                TEXT => Message::Text(std::str::from_utf8(payload).map_err(|_| Violation::NotUtf8)?.into()),
                _ => Message::Binary(payload.into()),
            }));
        }
        let pending = self.pending.get_or_insert_default();
        if pending.opcode == 0 {
            pending.opcode = frame.opcode;
        }
        pending.message.extend_from_slice(payload);
        if pending.opcode == TEXT {
            text::check(&pending.message, &mut pending.checked)?;
        }
        if !whole {
            return Ok(None);
        }
        let opcode = std::mem::take(&mut pending.opcode);
        let message = std::mem::take(&mut pending.message);
        pending.checked = 0;
        self.release();
        Ok(Some(match opcode {
            TEXT => Message::Text(String::from_utf8(message).map_err(|_| Violation::NotUtf8)?.into()),
            _ => Message::Binary(message.into()),
        }))
    }

    /// Gives back what is not needed between messages.
    fn release(&mut self) {
        if self.pending.as_ref().is_some_and(|pending| pending.opcode == 0 && pending.control.is_empty()) {
            self.pending = None;
        }
    }

    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, Violation> {
        loop {
            let have = usize::from(self.n_header);
            let need = header_length(self.header.get(..have).unwrap_or_default());
            if have == need {
                break;
            }
            let taken = take(input, (need - have).min(input.len()));
            if taken.is_empty() {
                return Ok(None);
            }
            for (to, from) in self.header.iter_mut().skip(have).zip(&*taken) {
                *to = *from;
            }
            // At most 14, so it fits.
            self.n_header += taken.len() as u8;
            self.check_start()?;
        }
        self.n_header = 0;
        let frame = self.decode()?;
        self.frame = Some(frame);
        Ok(Some(frame))
    }

    /// Refuses what the first two bytes already show to be wrong.
    fn check_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        let (opcode, last) = (first & 0x0f, first & 0x80 != 0);
        if first & 0x70 != 0 {
            return Err(Violation::Reserved);
        }
        if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(Violation::Opcode);
        }
        if opcode >= CLOSE && !last {
            return Err(Violation::FragmentedControl);
        }
        if opcode < CLOSE {
            let started = self.pending.as_ref().is_some_and(|pending| pending.opcode != 0);
            match (opcode, started) {
                (CONTINUATION, false) => return Err(Violation::StrayContinuation),
                (TEXT | BINARY, true) => return Err(Violation::Interrupted),
                _ => {}
            }
        }
        if self.n_header >= 2 {
            if second & 0x80 == 0 {
                return Err(Violation::Unmasked);
            }
            if opcode >= CLOSE && usize::from(second & 0x7f) > CONTROL_BYTES_MAX {
                return Err(Violation::LongControl);
            }
        }
        Ok(())
    }

    fn decode(&self) -> Result<Frame, Violation> {
        let [first, second, rest @ ..] = self.header;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = rest;
        let (length, mask) = match second & 0x7f {
            126 => match u64::from(u16::from_be_bytes([a, b])) {
                0..=125 => return Err(Violation::NotMinimal),
                length => (length, [c, d, e, f]),
            },
            127 => match u64::from_be_bytes([a, b, c, d, e, f, g, h]) {
                // The most significant bit must be 0, so such a length is none at all.
                0..=0xffff | 0x8000_0000_0000_0000.. => return Err(Violation::NotMinimal),
                length => (length, [i, j, k, l]),
            },
            length => (u64::from(length), [a, b, c, d]),
        };
        let held = self.pending.as_ref().map_or(0, |pending| pending.message.len());
        let opcode = first & 0x0f;
        let room = if opcode < CLOSE { self.bytes_max.saturating_sub(held) } else { CONTROL_BYTES_MAX };
        match usize::try_from(length) {
            Ok(remaining) if remaining <= room => Ok(Frame { opcode, last: first & 0x80 != 0, mask, remaining }),
            _ => Err(Violation::TooBig),
        }
    }
}

impl Frame {
    fn is_control(self) -> bool {
        self.opcode >= CLOSE
    }

    /// What is left of it when `n` bytes have come.
    fn after(self, n: usize) -> Self {
        let mut mask = self.mask;
        mask.rotate_left(n % 4);
        Self { mask, remaining: self.remaining - n, ..self }
    }
}

/// How long a header is, as far as its beginning tells.
fn header_length(start: &[u8]) -> usize {
    match start.get(1).map(|second| second & 0x7f) {
        None => 2,
        Some(126) => 8,
        Some(127) => HEADER_BYTES_MAX,
        Some(_) => 6,
    }
}

fn take<'a>(input: &mut &'a mut [u8], n: usize) -> &'a mut [u8] {
    let (taken, rest) = std::mem::take(input).split_at_mut(n);
    *input = rest;
    taken
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

fn control_message(opcode: u8, payload: Cow<'_, [u8]>) -> Result<Message<'_>, Violation> {
    match (opcode, &*payload) {
        (PING, _) => Ok(Message::Ping(payload)),
        (PONG, _) => Ok(Message::Pong),
        (_, []) => Ok(Message::Close(None)),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(Violation::CloseCode);
            }
            std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
            Ok(Message::Close(Some(code)))
        }
        _ => Err(Violation::CloseCode),
    }
}

/// Close codes that may be sent: those of section 7.4.1 and of the IANA registry that stand for something on the wire,
/// and the private ranges (section 7.4.2).
fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
