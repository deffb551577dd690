//! Writing an answer that is there in whole, as most are.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::net::TcpStream;

use crate::serve::lean::answer::{Answer, Framing};

/// A body up to this size is copied behind its head: that costs less than a vectored write.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Writes an answer that is there in whole, if it is short and the kernel takes it now, as is almost always so. Otherwise
/// what is left of it stays, to be waited for.
pub(crate) fn write_now(stream: &TcpStream, answer: &mut Answer) -> io::Result<bool> {
    if let Some(body) = &mut answer.body {
        let Framing::Length(n_bytes) = answer.framing else { return Ok(false) };
        if n_bytes > COPIED_BYTES_MAX as u64 {
            return Ok(false);
        }
        let Some(Some(frame)) = body.frame().now_or_never() else { return Ok(false) };
        let data = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        let left = n_bytes.checked_sub(data.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        answer.head.extend_from_slice(&data);
        answer.framing = Framing::Length(left);
        if left > 0 {
            return Ok(false);
        }
        answer.body = None;
    }
    match stream.try_write(&answer.head) {
        Ok(n) => {
            answer.head.drain(..n);
            Ok(answer.head.is_empty())
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes both, however long it takes.
pub(crate) async fn write_all(stream: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut slices = &mut [IoSlice::new(head), IoSlice::new(body)][..];
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.try_write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|cx| stream.poll_write_ready(cx)).await?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
