//! The writing side of a connection, shared by its task and, while a stream of events is open, by a fan-out shard.

use std::fmt;
use std::io::{self, IoSlice, Write as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::net::TcpStream;

/// As many slices as one write takes at once.
const SLICES_MAX: usize = 16;
/// A chunk up to this size is put together and written as one: that costs less than a vectored write.
const COPIED_BYTES_MAX: usize = 1024;
/// The longest head of a chunk: a length in hexadecimal digits, and the line's end.
const CHUNK_HEAD_BYTES_MAX: usize = 18;
const CHUNK_END: &[u8] = b"\r\n";

/// A connection as those see it who write to it.
pub(crate) struct Line {
    stream: TcpStream,
    /// What the kernel has not taken yet.
    rest: Mutex<Vec<Bytes>>,
}

/// What became of a shard's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel has them.
    All,
    /// They are begun; the connection's task has to write the rest.
    Begun,
    /// Not taken: there is a rest of earlier ones.
    Not,
    /// The connection is broken.
    Dead,
}

/// Something that can write its share of a body straight to the line. A response carries it in its extensions.
#[derive(Clone)]
pub(crate) struct Tap(pub(crate) Arc<dyn Attach>);

/// The owner of a tap.
pub(crate) trait Attach: Send + Sync {
    /// From now on the body's source may write chunks to this line whenever the body has been polled and had nothing.
    fn attach(&self, line: Arc<Line>);
}

impl Line {
    pub(crate) fn new(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self { stream, rest: Mutex::default() })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket again, if nobody else has the line any more and nothing is left to be written.
    pub(crate) fn into_stream(self: Arc<Self>) -> Option<TcpStream> {
        Arc::into_inner(self).filter(|line| line.rest.lock().is_empty()).map(|line| line.stream)
    }

    /// For a shard: writes one chunk (RFC 9112 section 7.1) made of these pieces, without waiting.
    pub(crate) fn try_send(&self, pieces: &[Bytes]) -> Sent {
        let n_bytes = pieces.iter().map(Bytes::len).sum();
        if n_bytes == 0 {
            return Sent::All;
        }
        let rest = self.rest.lock();
        if !rest.is_empty() {
            return Sent::Not;
        }
        let (head, head_bytes) = chunk_head(n_bytes);
        let head = &head[..head_bytes];
        let total = head.len() + n_bytes + CHUNK_END.len();
        let written = if total <= COPIED_BYTES_MAX {
            let mut whole = SmallVec::<[u8; COPIED_BYTES_MAX]>::new();
            whole.extend_from_slice(head);
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.extend_from_slice(CHUNK_END);
            self.stream.try_write(&whole)
        } else {
            let mut slices = SmallVec::<[IoSlice<'_>; SLICES_MAX]>::new();
            slices.push(IoSlice::new(head));
            slices.extend(pieces.iter().map(|piece| IoSlice::new(piece)));
            slices.push(IoSlice::new(CHUNK_END));
            self.stream.try_write_vectored(&slices)
        };
        match written {
            Ok(n) if n == total => Sent::All,
            Ok(n) => keep(rest, head, pieces, n),
            Err(error) if is_passing(&error) => keep(rest, head, pieces, 0),
            Err(_) => Sent::Dead,
        }
    }

    /// For the task: bytes that its next flush writes.
    pub(crate) fn push(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.rest.lock().push(bytes);
        }
    }

    /// For the task: one chunk that its next flush writes.
    pub(crate) fn push_chunk(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let (head, head_bytes) = chunk_head(bytes.len());
        let head = Bytes::copy_from_slice(&head[..head_bytes]);
        self.rest.lock().extend([head, bytes, Bytes::from_static(CHUNK_END)]);
    }

    /// Whether nothing is left to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.rest.lock().is_empty()
    }

    /// For the task: writes what there is, or is woken when it can be.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.rest.lock();
        while !rest.is_empty() {
            let written = {
                let mut slices = SmallVec::<[IoSlice<'_>; SLICES_MAX]>::new();
                slices.extend(rest.iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)));
                self.stream.try_write_vectored(&slices)
            };
            match written {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => advance(&mut rest, n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Keeps what of a chunk is not written, as the connection's one unfinished piece.
fn keep(mut rest: MutexGuard<'_, Vec<Bytes>>, head: &[u8], pieces: &[Bytes], written: usize) -> Sent {
    rest.push(Bytes::copy_from_slice(head));
    rest.extend(pieces.iter().cloned());
    rest.push(Bytes::from_static(CHUNK_END));
    advance(&mut rest, written);
    Sent::Begun
}

fn advance(rest: &mut Vec<Bytes>, mut n: usize) {
    let mut n_done = 0;
    for bytes in rest.iter_mut() {
        if n < bytes.len() {
            bytes.advance(n);
            break;
        }
        n -= bytes.len();
        n_done += 1;
    }
    if n_done == rest.len() {
        // What a burst has needed is not kept while the connection is idle.
        *rest = Vec::new();
    } else {
        rest.drain(..n_done);
    }
}

fn chunk_head(n_bytes: usize) -> ([u8; CHUNK_HEAD_BYTES_MAX], usize) {
    let mut head = [0; CHUNK_HEAD_BYTES_MAX];
    let mut unwritten = &mut head[..];
    write!(unwritten, "{n_bytes:x}\r\n").expect("a length has at most 16 digits");
    let n = CHUNK_HEAD_BYTES_MAX - unwritten.len();
    (head, n)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_forgotten_across_pieces() {
        let pieces = || vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c"), Bytes::from_static(b"def")];
        for n in 0..=6 {
            let mut rest = pieces();
            advance(&mut rest, n);
            assert_eq!(rest.concat(), b"abcdef"[n..].to_vec());
            assert!(rest.iter().all(|bytes| !bytes.is_empty()));
        }
    }

    #[test]
    fn chunks_begin_with_their_length() {
        let (head, n) = chunk_head(0x1a2b);
        assert_eq!(&head[..n], b"1a2b\r\n");
        assert_eq!(chunk_head(usize::MAX).1, CHUNK_HEAD_BYTES_MAX);
    }
}
