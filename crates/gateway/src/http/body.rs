//! Reading a request's body within bounds: of one body, of all bodies together, and in time. What no handler has read
//! is read here too, so that the connection stays usable.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use quintet_wire::problem::kind::Kind;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Problem, Result};
use crate::state::Gateway;

/// What is read of a body that is too large, so that whoever sends it learns of it.
const TOO_LARGE_BYTES_MAX: u64 = 64 << 20;
const TOO_LARGE_TIME: Duration = Duration::from_secs(5);
/// What is read of a body that nobody wanted.
const LEFT_BYTES_MAX: u64 = 1 << 20;
const LEFT_TIME: Duration = Duration::from_secs(2);

/// Receives a whole body: 413 if it is too large, 408 if it comes too slowly, 503 if too much is being received.
///
/// Dropping the future gives the body up.
pub(crate) async fn receive(gateway: &Gateway, mut body: Body) -> Result<Bytes> {
    let config = gateway.config();
    let announced = body.size_hint().lower();
    if announced > config.body_bytes as u64 {
        return Err(too_large(config.body_bytes, body).await);
    }
    let deadline = Instant::now() + config.body_time;
    let mut reserved = Reserved { all: gateway.body_bytes(), bytes: 0, max: config.bodies_bytes };
    reserved.grow(usize::try_from(announced).unwrap_or(0))?;
    let mut received = Received::default();
    loop {
        let frame = timeout_at(deadline, timeout(config.body_idle, body.frame())).await;
        let frame = match frame {
            Ok(Ok(None)) => return Ok(received.finish()),
            Ok(Ok(Some(Ok(frame)))) => frame,
            Ok(Ok(Some(Err(error)))) => {
                let detail = format!("the body broke off: {error}; send it again");
                return Err(Problem::new(Kind::BadRequest, detail));
            }
            Ok(Err(_)) | Err(_) => {
                let detail = "the body came too slowly; send it again over a faster way, or in parts";
                return Err(Problem::new(Kind::RequestTimeout, detail));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        let total = received.len() + data.len();
        if total > config.body_bytes {
            drop(received);
            return Err(too_large(config.body_bytes, body).await);
        }
        reserved.grow(total)?;
        received.push(data, usize::try_from(announced).unwrap_or(0));
    }
}

/// Middleware: when a request was answered without its body having been read, reads it after all, within bounds.
///
/// A client that is still sending when the connection is closed may never see the answer, and the server closes a
/// connection on which something unread is to come. What is too long for that is announced by `Connection: close`.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(Some(body))));
    let mut response = next.run(Request::from_parts(parts, Body::new(shared.clone()))).await;
    let left = shared.0.lock().take().filter(|body| !body.is_end_stream());
    if let Some(body) = left
        && !discard(body, LEFT_BYTES_MAX, LEFT_TIME).await
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that can be taken back from a handler which did not want it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<Body>>>);

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.0.lock().as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

/// Reads a body to its end and keeps nothing of it; tells whether it came to its end.
async fn discard(mut body: Body, max: u64, time: Duration) -> bool {
    if body.size_hint().lower() > max {
        return false;
    }
    let rest = async {
        let mut n_bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            n_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if n_bytes > max {
                return false;
            }
        }
        true
    };
    timeout(time, rest).await.unwrap_or(false)
}

async fn too_large(max: usize, body: Body) -> Problem {
    let problem = Problem::new(Kind::TooLarge, format!("the hub takes bodies of up to {max} bytes; send it in parts"));
    if discard(body, TOO_LARGE_BYTES_MAX, TOO_LARGE_TIME).await {
        return problem;
    }
    problem.header("connection", "close")
}

/// What has come: a body of one piece is kept as it is, without a copy.
#[derive(Default)]
struct Received {
    first: Bytes,
    rest: BytesMut,
}

impl Received {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn push(&mut self, data: Bytes, announced: usize) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(announced.max(self.first.len() + data.len()));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// A share of what all bodies together may take.
struct Reserved<'a> {
    all: &'a Arc<AtomicUsize>,
    bytes: usize,
    max: usize,
}

impl Reserved<'_> {
    fn grow(&mut self, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        self.bytes += more;
        if self.all.fetch_add(more, Ordering::AcqRel) + more > self.max {
            let detail = "the hub is receiving as much as it can hold; send it again in a moment";
            return Err(Problem::new(Kind::Overloaded, detail));
        }
        Ok(())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
