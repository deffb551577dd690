//! One connection's life: a head, its answer, and again.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::serve::Guest;
use crate::serve::lean::answer::{Answer, Framing};
use crate::serve::lean::head::{self, HEAD_BYTES_MAX};
use crate::serve::lean::line::Line;
use crate::state::Shutdown;

/// What all these connections share.
#[derive(Debug)]
pub(crate) struct Reads {
    router: TowerToHyperService<Router>,
    shutdown: Shutdown,
    idle: Duration,
    headers_max: usize,
}

/// What comes next on a connection.
enum Next {
    /// A read, which is being answered.
    Read(Answering),
    /// Something else, which is still to be taken.
    Other,
    /// The client is gone.
    End,
}

/// A request, and how its answer is to be written.
struct Answering {
    response: Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>,
    is_head: bool,
    closes: bool,
}

/// The client's side of a connection while it waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// It should send nothing.
    Quiet,
    /// It has sent more, so that its end cannot be seen.
    Ahead,
}

impl Reads {
    pub(crate) fn new(router: Router, shutdown: Shutdown, idle: Duration, headers_max: usize) -> Self {
        Self { router: TowerToHyperService::new(router), shutdown, idle, headers_max }
    }
}

/// Answers reads for as long as nothing else comes; then it gives the socket back, with that still in it.
///
/// Dropping the future closes the connection.
pub(crate) async fn serve(reads: &Reads, stream: TcpStream, guest: &Guest) -> io::Result<Option<TcpStream>> {
    let mut line = Line::new(stream);
    // Whoever called has seen that something is there.
    let mut next = poll_fn(|cx| poll_next(reads, &line, guest, cx)).await?;
    loop {
        let answering = match next {
            Next::Read(answering) => answering,
            Next::Other => return Ok(line.into_stream()),
            Next::End => return Ok(None),
        };
        let Some(answer) = wait(reads, &line, answering).await else { return Ok(None) };
        let closes = answer.closes;
        write(&line, answer).await?;
        if closes {
            socket2::SockRef::from(line.stream()).shutdown(std::net::Shutdown::Write)?;
            return Ok(None);
        }
        // A stream's follower may have it for an instant longer.
        match line.into_stream() {
            Some(stream) => line = Line::new(stream),
            None => return Ok(None),
        }
        next = match idle(reads, &line, guest).await? {
            Some(next) => next,
            None => return Ok(None),
        };
    }
}

/// Waits for the next request; none when the time is up or the doors close.
async fn idle(reads: &Reads, line: &Line, guest: &Guest) -> io::Result<Option<Next>> {
    let next = timeout(reads.idle, poll_fn(|cx| poll_next(reads, line, guest, cx)));
    tokio::select! {
        biased;
        next = next => next.ok().transpose(),
        () = reads.shutdown.begun() => Ok(None),
    }
}

/// Looks at what is there, and takes it if it is a read.
fn poll_next(reads: &Reads, line: &Line, guest: &Guest, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
    let mut bytes = [0; HEAD_BYTES_MAX];
    let mut seen = ReadBuf::new(&mut bytes);
    if ready!(line.stream().poll_peek(cx, &mut seen))? == 0 {
        return Poll::Ready(Ok(Next::End));
    }
    let Some(mut head) = head::parse(seen.filled(), reads.headers_max) else { return Poll::Ready(Ok(Next::Other)) };
    // What was seen is there, so that this neither waits nor gets less.
    if line.stream().try_read(&mut bytes[..head.len])? != head.len {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    head.request.extensions_mut().insert(guest.clone());
    let is_head = head.request.method() == Method::HEAD;
    let response = Box::pin(reads.router.call(head.request));
    Poll::Ready(Ok(Next::Read(Answering { response, is_head, closes: head.closes })))
}

/// Waits for the answer; none if the client goes away meanwhile, which ends what it has asked for.
async fn wait(reads: &Reads, line: &Line, mut answering: Answering) -> Option<Answer> {
    let mut watch = Watch::Quiet;
    poll_fn(move |cx| {
        if let Poll::Ready(response) = answering.response.as_mut().poll(cx) {
            let Ok(response) = response;
            let closes = answering.closes || reads.shutdown.has_begun();
            return Poll::Ready(Some(Answer::new(response, answering.is_head, closes)));
        }
        poll_gone(line, &mut watch, cx).map(|()| None)
    })
    .await
}

/// Writes an answer. Dropping the future leaves it unfinished, so that the connection has to be closed.
async fn write(line: &Arc<Line>, answer: Answer) -> io::Result<()> {
    let Answer { head, body, framing, tap, closes: _ } = answer;
    line.push(head);
    let Some(body) = body else { return poll_fn(|cx| line.poll_flush(cx)).await };
    if let (Some(tap), Framing::Chunks) = (tap, framing) {
        tap.0.attach(Arc::clone(line));
    }
    let mut writing = Writing { body, framing, watch: Watch::Quiet, is_first: true };
    poll_fn(|cx| writing.poll(line, cx)).await?;
    // The body's source lets go of the line here.
    drop(writing);
    poll_fn(|cx| line.poll_flush(cx)).await
}

struct Writing {
    body: Body,
    framing: Framing,
    watch: Watch,
    /// The head is not written yet: it goes with the body's first bytes, if there are any.
    is_first: bool,
}

impl Writing {
    /// What the body gives is flushed before it is polled again: then its source knows that all before is written.
    fn poll(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !std::mem::take(&mut self.is_first) {
                ready!(line.poll_flush(cx))?;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.push(line, data)?;
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(self.finish(line)),
                Poll::Pending if line.is_flushed() => {
                    ready!(poll_gone(line, &mut self.watch, cx));
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                // The head, or what the source has begun to write meanwhile.
                Poll::Pending => {}
            }
        }
    }

    fn push(&mut self, line: &Line, data: Bytes) -> io::Result<()> {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
                line.push(data);
            }
            Framing::Chunks => line.push_chunk(data),
        }
        Ok(())
    }

    fn finish(&self, line: &Line) -> io::Result<()> {
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Chunks => {
                line.push(Bytes::from_static(b"0\r\n\r\n"));
                Ok(())
            }
        }
    }
}

/// Is ready when the client has closed. What it sends ahead of the answer waits in the kernel.
fn poll_gone(line: &Line, watch: &mut Watch, cx: &mut Context<'_>) -> Poll<()> {
    if *watch == Watch::Ahead {
        return Poll::Pending;
    }
    let mut byte = [0];
    match ready!(line.stream().poll_peek(cx, &mut ReadBuf::new(&mut byte))) {
        Ok(0) | Err(_) => Poll::Ready(()),
        Ok(_) => {
            *watch = Watch::Ahead;
            Poll::Pending
        }
    }
}
