//! Batches as WebSocket frames: made once, shared by every connection that needs the same.

use std::cell::RefCell;

use bytes::Bytes;
use quintet_core::batch::{Batch, Format};
use quintet_core::message::Message;
use quintet_wire::content;

use crate::convert;
use crate::websocket::doors::Doors;
use crate::websocket::frame::{BINARY, TEXT, write};

/// One frame a message, its payload the message's.
const PAYLOADS: Format = Format(20);
/// One text frame: `{"next":"…","messages":[…]}`.
const ENVELOPES: Format = Format(21);
/// The part of a session's frame that all subscriptions share: `"messages":[…]}`.
const SESSION: Format = Format(22);

thread_local! {
    /// Where the parts are put together that no two connections share.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A frame for each message.
pub(crate) fn payloads(doors: &Doors, batch: &Batch) -> Bytes {
    batch.encoding(PAYLOADS, |batch| {
        let mut out = Vec::new();
        for message in batch.messages() {
            write::push_header(&mut out, opcode(message), message.payload.len());
            out.extend_from_slice(&message.payload);
        }
        doors.unsent().count(out)
    })
}

/// One frame with the batch's envelopes and the cursor behind them.
pub(crate) fn envelopes(doors: &Doors, batch: &Batch) -> Bytes {
    batch.encoding(ENVELOPES, |batch| {
        let mut json = b"{\"next\":\"".to_vec();
        convert::token(batch.next()).write(&mut json);
        json.extend_from_slice(b"\",\"messages\":[");
        convert::write_envelopes(&mut json, batch);
        json.extend_from_slice(b"]}");
        let mut out = Vec::with_capacity(write::HEADER_BYTES_MAX + json.len());
        write::push_header(&mut out, TEXT, json.len());
        out.append(&mut json);
        doors.unsent().count(out)
    })
}

/// The end of a session's frame.
pub(crate) fn shared_messages(doors: &Doors, batch: &Batch) -> Bytes {
    batch.encoding(SESSION, |batch| {
        let mut out = b"\"messages\":[".to_vec();
        convert::write_envelopes(&mut out, batch);
        out.extend_from_slice(b"]}");
        doors.unsent().count(out)
    })
}

/// The beginning of a text frame that ends with `n_shared` bytes of others: its header and what `write` appends.
pub(crate) fn with_head<T>(n_shared: usize, fill: impl FnOnce(&mut Vec<u8>), then: impl FnOnce(&[u8]) -> T) -> T {
    HEAD.with_borrow_mut(|head| {
        head.clear();
        // The header goes in front, and its length is known last.
        head.resize(write::HEADER_BYTES_MAX, 0);
        fill(head);
        let n_own = head.len() - write::HEADER_BYTES_MAX;
        let (header, n) = write::header(TEXT, n_own + n_shared);
        let start = write::HEADER_BYTES_MAX - n;
        for (to, from) in head.iter_mut().skip(start).zip(header.iter().take(n)) {
            *to = *from;
        }
        then(head.get(start..).unwrap_or_default())
    })
}

/// A text frame of its own.
pub(crate) fn text_frame(fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    with_head(0, fill, Bytes::copy_from_slice)
}

fn opcode(message: &Message) -> u8 {
    let content_type = message.content_type.as_str();
    let textual = content::is_json(content_type) || content::is_text(content_type);
    if textual && std::str::from_utf8(&message.payload).is_ok() { TEXT } else { BINARY }
}
