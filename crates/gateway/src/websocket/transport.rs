//! The connection's bytes: the TCP socket itself where there is one, anything that reads and writes otherwise (TLS, a
//! connection that somebody's application wraps). Everything above is the same code for both.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::unconstrained;

use crate::serve::tls::TlsSocket;

/// Reads and writes, from the connection's task and, without waiting, from anywhere.
pub(crate) enum Transport {
    /// The socket can be written to by several at once.
    Tcp(TcpStream),
    /// Anything else is used by one at a time. Whoever finds that it takes no more has to wake the connection's task,
    /// which alone waits for it.
    Other(Mutex<Pin<Box<dyn Duplex>>>),
}

/// Reads and writes.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl Transport {
    /// The socket, set up for many small frames and a bounded share of the kernel's memory.
    pub(crate) fn tcp(stream: TcpStream, send_buffer_bytes: u32) -> Self {
        tune(&stream, send_buffer_bytes);
        Self::Tcp(stream)
    }

    /// A socket behind TLS, set up alike.
    pub(crate) fn tls(stream: TlsSocket, send_buffer_bytes: u32) -> Self {
        tune(stream.get_ref().0, send_buffer_bytes);
        Self::Other(Mutex::new(Pin::from(stream as Box<dyn Duplex>)))
    }

    /// Anything else.
    pub(crate) fn other(stream: impl Duplex + 'static) -> Self {
        Self::Other(Mutex::new(Box::pin(stream)))
    }

    /// Writes what can be written at once. [`io::ErrorKind::WouldBlock`] if that is nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => match slices {
                [slice] => stream.try_write(slice),
                slices => stream.try_write_vectored(slices),
            },
            Self::Other(stream) => {
                let mut stream = stream.lock();
                match poll_once(|cx| Poll::Ready(poll_write(&mut stream, cx, slices))) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Pushes on what the transport itself may hold back; tells whether it holds nothing.
    pub(crate) fn try_flush(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) => Ok(true),
            Self::Other(stream) => {
                let mut stream = stream.lock();
                match poll_once(|cx| stream.as_mut().poll_flush(cx)) {
                    Poll::Ready(flushed) => flushed.map(|()| true),
                    Poll::Pending => Ok(false),
                }
            }
        }
    }

    /// For the connection's task: writes, or has it woken when it can be written.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                match stream.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
                    written => return Poll::Ready(written),
                }
            },
            Self::Other(stream) => match poll_write(&mut stream.lock(), cx, slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                written => Poll::Ready(written),
            },
        }
    }

    /// For the connection's task: flushes, or has it woken.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(stream) => stream.lock().as_mut().poll_flush(cx),
        }
    }

    /// For the connection's task: reads, or has it woken when there is something. 0 bytes are the end.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                ready!(stream.poll_read_ready(cx))?;
                match stream.try_read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return Poll::Ready(read),
                }
            },
            Self::Other(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(stream.lock().as_mut().poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// Tells the other side that nothing more comes. A connection that is broken already needs no telling.
    pub(crate) fn shut_down(&self) {
        match self {
            Self::Tcp(stream) => drop(socket2::SockRef::from(stream).shutdown(Shutdown::Write)),
            Self::Other(stream) => {
                let mut stream = stream.lock();
                if poll_once(|cx| stream.as_mut().poll_shutdown(cx)).is_pending() {
                    tracing::trace!("a connection ends without a farewell of its transport");
                }
            }
        }
    }
}

fn tune(stream: &TcpStream, send_buffer_bytes: u32) {
    let set = stream.set_nodelay(true);
    let size = usize::try_from(send_buffer_bytes).unwrap_or(usize::MAX);
    if let Err(error) = set.and(socket2::SockRef::from(stream).set_send_buffer_size(size)) {
        // The connection works all the same; if it is broken, reading it will tell.
        tracing::debug!(%error, "a socket's options could not be set");
    }
}

/// Polls once, for somebody who will not be woken. A sink writes for many connections in its shard's turn, whose budget
/// (tokio's, per task) would soon be spent: then a socket would seem full that is not.
fn poll_once<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Unpin) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_write(stream: &mut Pin<Box<dyn Duplex>>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match stream.as_mut().poll_write_vectored(cx, slices) {
        Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
        Poll::Ready(written) => written,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Other(_) => "Other",
        })
    }
}
