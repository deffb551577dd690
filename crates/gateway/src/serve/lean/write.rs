//! Writing an answer that is there in whole, as most are.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use tokio::net::TcpStream;

/// A body up to this size is copied behind its head: that costs less than a vectored write.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Writes both.
pub(crate) async fn write_all(stream: &TcpStream, mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
    if body.len() <= COPIED_BYTES_MAX {
        head.extend_from_slice(body);
        return write_slices(stream, &mut [IoSlice::new(&head)]).await;
    }
    write_slices(stream, &mut [IoSlice::new(&head), IoSlice::new(body)]).await
}

async fn write_slices(stream: &TcpStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let written = match &*slices {
            [slice] => stream.try_write(slice),
            slices => stream.try_write_vectored(slices),
        };
        match written {
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
