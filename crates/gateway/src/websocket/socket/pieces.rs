//! What the kernel has not taken yet, in order.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::websocket::frame::write;

/// As many slices as one write takes at once.
const SLICES_MAX: usize = 32;

/// Whole frames, of which the beginning may be written.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What is this connection's own; then it is one frame together with the body.
    pub(crate) head: Bytes,
    /// One or more whole frames, or the rest of one.
    pub(crate) body: Bytes,
    pub(crate) written: usize,
    /// Whether it counts among the answers that are not written yet.
    pub(crate) is_answer: bool,
}

/// The pieces of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    queue: VecDeque<Piece>,
    n_answers: usize,
    answer_bytes: usize,
}

impl Pieces {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn n_answers(&self) -> usize {
        self.n_answers
    }

    /// The bytes of answers that are not written whole.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        if piece.is_answer {
            self.n_answers += 1;
            self.answer_bytes += piece.size();
        }
        self.queue.push_back(piece);
    }

    /// Hands what comes next to a writer.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let parts = self.queue.iter().flat_map(Piece::rest).filter(|part| !part.is_empty());
        let mut n = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            n += 1;
        }
        write(slices.get(..n).unwrap_or_default())
    }

    /// Forgets what was written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        while let Some(piece) = self.queue.front_mut() {
            let left = piece.left();
            if n < left {
                piece.written += n;
                return;
            }
            n -= left;
            if piece.is_answer {
                self.n_answers -= 1;
                self.answer_bytes -= piece.size();
            }
            self.queue.pop_front();
        }
        // What a burst has needed is not kept while the connection is idle.
        self.queue = VecDeque::new();
    }

    /// Keeps only the rest of the frame that is begun, so that a close frame can follow it.
    pub(crate) fn cut(&mut self) {
        let begun = self.queue.pop_front().and_then(Piece::begun_frame);
        *self = Self::default();
        self.queue.extend(begun);
    }
}

impl Piece {
    /// A frame that nobody else has.
    pub(crate) fn frame(body: Bytes, is_answer: bool) -> Self {
        Self { head: Bytes::new(), body, written: 0, is_answer }
    }

    fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    fn left(&self) -> usize {
        self.size().saturating_sub(self.written)
    }

    fn rest(&self) -> [&[u8]; 2] {
        let head = self.head.get(self.written..).unwrap_or_default();
        let body = self.body.get(self.written.saturating_sub(self.head.len())..).unwrap_or_default();
        [head, body]
    }

    fn begun_frame(mut self) -> Option<Self> {
        if self.written == 0 {
            return None;
        }
        if self.head.is_empty() {
            self.body.truncate(write::frame_end(&self.body, self.written));
        }
        self.is_answer = false;
        (self.left() > 0).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame::{BINARY, TEXT};

    fn piece(head: &'static [u8], body: Bytes) -> Piece {
        Piece { head: Bytes::from_static(head), body, written: 0, is_answer: true }
    }

    fn rest(pieces: &Pieces) -> Vec<u8> {
        pieces.write(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[test]
    fn what_is_written_is_forgotten_across_pieces() {
        let mut pieces = Pieces::default();
        pieces.push(piece(b"ab", Bytes::from_static(b"cd")));
        pieces.push(piece(b"", Bytes::from_static(b"ef")));
        for n in 0..6 {
            assert_eq!(rest(&pieces), b"abcdef"[n..].to_vec());
            assert_eq!(pieces.n_answers(), if n < 4 { 2 } else { 1 });
            assert_eq!(pieces.answer_bytes(), if n < 4 { 6 } else { 2 });
            pieces.advance(1);
        }
        assert!(pieces.is_empty() && pieces.n_answers() == 0 && pieces.answer_bytes() == 0);
    }

    #[test]
    fn a_cut_leaves_whole_frames() {
        let one = write::frame(TEXT, b"one");
        let frames = Bytes::from([&one[..], &write::frame(BINARY, &[7; 300])[..], &one[..]].concat());
        let check = |written: usize, end: usize| {
            let mut pieces = Pieces::default();
            pieces.push(piece(b"", frames.clone()));
            pieces.push(piece(b"", one.clone()));
            pieces.advance(written);
            pieces.cut();
            assert_eq!(rest(&pieces), frames[written..end].to_vec(), "{written}");
        };
        check(0, 0);
        check(1, 5);
        check(5, 5);
        check(6, 309);
        check(308, 309);
        check(309, 309);
        check(310, 314);
        let mut own = Pieces::default();
        own.push(piece(b"head", one.clone()));
        own.advance(2);
        own.cut();
        assert_eq!(rest(&own), [b"ad", &one[..]].concat());
    }
}
