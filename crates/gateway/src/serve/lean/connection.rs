//! One connection's life: a request, its answer, and again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::Method;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::straight::Call;
use crate::http::topics::Answer as AnswerToBe;
use crate::serve::lean::answer::{Answer, Framing};
use crate::serve::lean::head::{self, REQUEST_BYTES_MAX, Seen};
use crate::serve::lean::line::{Line, Tap};
use crate::serve::lean::write::{write_all, write_now};
use crate::serve::rewound::Rewound;
use crate::serve::{Guest, ServeConfig};
use crate::state::{Gateway, Shutdown};

/// For how long a request may be cut off and still be answered here.
const REST_TIME: Duration = Duration::from_millis(500);

/// How long a client may take to read its last answer and close.
const LINGER_TIME: Duration = Duration::from_secs(1);

thread_local! {
    /// What is read comes here first, so that no connection holds memory for what may come.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; REQUEST_BYTES_MAX].into());
}

/// What all these connections share.
#[derive(Debug)]
pub(crate) struct Lean {
    way: Way,
    shutdown: Shutdown,
    idle: Duration,
    /// For how long the rest of a request is waited for that is not there at once.
    rest: Duration,
    headers_max: usize,
    /// Of a request's head and body together.
    request_bytes_max: usize,
}

/// How a request gets to its handler.
#[derive(Debug)]
enum Way {
    Router(TowerToHyperService<Router>),
    Straight(Gateway),
}

/// What comes next on a connection.
enum Next {
    /// A request, which is being answered.
    Request(Answering),
    /// A part of one, which is to be looked at again when so many bytes are there.
    Part { needed: usize },
    /// Something else, which is still to be taken.
    Other,
    /// The client is gone.
    End,
}

/// A request, and how its answer is to be written.
struct Answering {
    response: Coming,
    is_head: bool,
    closes: bool,
}

enum Coming {
    Routed(AnswerToBe),
    Straight(Call),
}

/// The client's side of a connection while it waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// It should send nothing.
    Quiet,
    /// It has sent more, so that its end cannot be seen.
    Ahead,
}

impl Lean {
    /// Straight to the gateway's handlers if there is one, and else through the router.
    pub(crate) fn new(router: Router, gateway: Option<Gateway>, shutdown: Shutdown, config: &ServeConfig) -> Self {
        Self {
            way: gateway.map_or_else(|| Way::Router(TowerToHyperService::new(router)), Way::Straight),
            shutdown,
            idle: config.idle.max(config.head_time),
            rest: config.head_time.min(REST_TIME),
            headers_max: config.headers,
            request_bytes_max: REQUEST_BYTES_MAX.min(config.buffer_bytes.max(8192)),
        }
    }

    /// Takes what there is if it is a request in whole.
    fn take(&self, unread: &mut Bytes, guest: &Guest) -> Next {
        let mut whole = match head::parse(unread, self.headers_max) {
            Seen::Whole(whole) if whole.len <= self.request_bytes_max => whole,
            Seen::Part { needed } if needed <= self.request_bytes_max => return Next::Part { needed },
            Seen::Whole(_) | Seen::Part { .. } | Seen::Other => return Next::Other,
        };
        // What is left is in memory of its own, as the request's may be needed longer.
        *unread = if unread.len() == whole.len { Bytes::new() } else { Bytes::copy_from_slice(&unread[whole.len..]) };
        let is_head = whole.request.method() == Method::HEAD;
        let response = match &self.way {
            Way::Straight(gateway) => Coming::Straight(Call::new(gateway, whole.handler, whole.request, guest)),
            Way::Router(router) => {
                whole.request.extensions_mut().insert(guest.clone());
                let response = router.call(whole.request);
                Coming::Routed(Box::pin(response.map(|response| response.unwrap_or_else(|never| match never {}))))
            }
        };
        Next::Request(Answering { response, is_head, closes: whole.closes })
    }
}

/// Answers requests for as long as they come in whole; then it gives the socket back, with what else has come.
///
/// Dropping the future closes the connection.
pub(crate) async fn serve(lean: &Lean, mut stream: TcpStream, guest: &Guest) -> io::Result<Option<Rewound>> {
    // Whoever called has seen that something is there.
    let mut unread = poll_fn(|cx| poll_read(&mut stream, &[], cx)).await?;
    if unread.is_empty() {
        return Ok(None);
    }
    let mut next = Box::pin(receive(lean, &mut stream, &mut unread, guest)).await?;
    loop {
        let answering = match next {
            Next::Request(answering) => answering,
            Next::Part { .. } | Next::Other => return Ok(Some(Rewound::new(unread, stream))),
            Next::End => return Ok(None),
        };
        let watch = if unread.is_empty() { Watch::Quiet } else { Watch::Ahead };
        let Some(mut answer) = wait(lean, &stream, answering, watch).await else { return Ok(None) };
        let closes = answer.closes;
        if !write_now(&stream, &mut answer)? {
            stream = match Box::pin(write(stream, answer, watch)).await? {
                Some(stream) => stream,
                None => return Ok(None),
            };
        }
        if closes {
            Box::pin(close(&mut stream)).await?;
            return Ok(None);
        }
        // A client that sends ahead gets its share of the thread, and no more.
        tokio::task::coop::consume_budget().await;
        // Boxed, so that those that wait for an answer do not hold its room.
        next = match Box::pin(idle(lean, &mut stream, &mut unread, guest)).await? {
            Some(next) => next,
            None => return Ok(None),
        };
    }
}

/// Ends a connection. What the client has sent ahead is read first, as it would otherwise lose the answer with it.
async fn close(stream: &mut TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&*stream).shutdown(std::net::Shutdown::Write)?;
    let rest = async {
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok(())
    };
    timeout(LINGER_TIME, rest).await.unwrap_or(Ok(()))
}

/// Waits for the next request; none when it does not begin in time, or the doors close before.
async fn idle(lean: &Lean, stream: &mut TcpStream, unread: &mut Bytes, guest: &Guest) -> io::Result<Option<Next>> {
    if unread.is_empty() {
        let first = timeout(lean.idle, poll_fn(|cx| poll_read(stream, &[], cx)));
        let first = tokio::select! {
            biased;
            first = first => first,
            () = lean.shutdown.begun() => return Ok(None),
        };
        let Ok(first) = first else { return Ok(None) };
        *unread = first?;
        if unread.is_empty() {
            return Ok(Some(Next::End));
        }
    }
    receive(lean, stream, unread, guest).await.map(Some)
}

/// Takes what has come. A request that is cut off is waited for, but not for long: slow clients are hyper's.
async fn receive(lean: &Lean, stream: &mut TcpStream, unread: &mut Bytes, guest: &Guest) -> io::Result<Next> {
    let next = lean.take(unread, guest);
    let Next::Part { needed } = next else { return Ok(next) };
    // Boxed, as it is rare and its room would be held by all that are idle.
    let mut needed = needed;
    let rest = poll_fn(|cx| poll_rest(lean, stream, unread, guest, &mut needed, cx));
    Box::pin(timeout(lean.rest, rest)).await.unwrap_or(Ok(Next::Other))
}

fn poll_rest(
    lean: &Lean,
    stream: &mut TcpStream,
    unread: &mut Bytes,
    guest: &Guest,
    needed: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Next>> {
    loop {
        let seen = unread.len();
        *unread = ready!(poll_read(stream, unread, cx))?;
        if unread.len() == seen {
            return Poll::Ready(Ok(Next::End));
        }
        if unread.len() < *needed {
            continue;
        }
        match lean.take(unread, guest) {
            Next::Part { needed: more } => *needed = more,
            next => return Poll::Ready(Ok(next)),
        }
    }
}

/// What was read before, and what there is.
fn poll_read(stream: &mut TcpStream, before: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    READ.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        read.put_slice(before);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
    })
}

/// Waits for the answer; none if the client goes away meanwhile, which ends what it has asked for.
async fn wait(lean: &Lean, stream: &TcpStream, mut answering: Answering, mut watch: Watch) -> Option<Answer> {
    poll_fn(move |cx| {
        let response = match &mut answering.response {
            Coming::Straight(call) => Pin::new(call).poll(cx),
            Coming::Routed(answer) => answer.as_mut().poll(cx),
        };
        if let Poll::Ready(response) = response {
            let closes = answering.closes || lean.shutdown.has_begun();
            let mut answer = Answer::new(response, answering.is_head, closes);
            if matches!(answering.response, Coming::Routed(_)) {
                // What an application has put around the router may have changed the body.
                answer.tap = None;
            }
            return Poll::Ready(Some(answer));
        }
        poll_gone(stream, &mut watch, cx).map(|()| None)
    })
    .await
}

/// Writes an answer and gives the socket back, if nobody else has it any more. Dropping the future leaves the answer
/// unfinished, so that the connection has to be closed.
async fn write(stream: TcpStream, answer: Answer, watch: Watch) -> io::Result<Option<TcpStream>> {
    let Answer { head, body, framing, tap, closes: _ } = answer;
    let Some(mut body) = body else {
        write_all(&stream, &head, &[]).await?;
        return Ok(Some(stream));
    };
    let mut first = Bytes::new();
    if let Framing::Length(n_bytes) = framing
        && let Some(Some(frame)) = body.frame().now_or_never()
    {
        first = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        if first.len() as u64 == n_bytes {
            write_all(&stream, &head, &first).await?;
            return Ok(Some(stream));
        }
    }
    write_parts(stream, head.into(), first, Writing { body, framing, watch, is_first: true }, tap).await
}

/// Writes a body as it comes.
async fn write_parts(
    stream: TcpStream,
    head: Bytes,
    first: Bytes,
    mut writing: Writing,
    tap: Option<Tap>,
) -> io::Result<Option<TcpStream>> {
    let line = Line::new(stream);
    line.push(head);
    if !first.is_empty() {
        writing.push(&line, first)?;
    }
    if let (Some(tap), Framing::Chunks) = (tap, writing.framing) {
        tap.0.attach(Arc::clone(&line));
    }
    poll_fn(|cx| writing.poll(&line, cx)).await?;
    // The body's source lets go of the line here.
    drop(writing);
    poll_fn(|cx| line.poll_flush(cx)).await?;
    // A stream's follower may have it for an instant longer.
    Ok(line.into_stream())
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
                    ready!(poll_gone(line.stream(), &mut self.watch, cx));
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
fn poll_gone(stream: &TcpStream, watch: &mut Watch, cx: &mut Context<'_>) -> Poll<()> {
    if *watch == Watch::Ahead {
        return Poll::Pending;
    }
    let mut byte = [0];
    match ready!(stream.poll_peek(cx, &mut ReadBuf::new(&mut byte))) {
        Ok(0) | Err(_) => Poll::Ready(()),
        Ok(_) => {
            *watch = Watch::Ahead;
            Poll::Pending
        }
    }
}
