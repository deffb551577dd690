//! The least that somebody would write by hand for request-response through a responder that dials in: an axum handler
//! that hands each body on over one TCP connection and answers with what comes back.
//!
//! A frame is a big-endian `u32` length, a `u64` identifier and that many bytes, either way; requests are pipelined and may be
//! answered in any order. The responder is greeted with `+` when it is known. A handler writes its frame itself, under a
//! lock, which costs less than a task that writes for all, and waits for a oneshot. There are no timeouts and no limits.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::{Buf, BufMut, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

const HEAD_BYTES: usize = 12;

#[derive(Default)]
struct Hop {
    responder: tokio::sync::Mutex<Option<OwnedWriteHalf>>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
    next_id: AtomicU64,
}

/// Serves until killed.
pub(crate) fn serve(listen: SocketAddr, responders: SocketAddr) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let responders = TcpListener::bind(responders).await?;
        let listener = TcpListener::bind(listen).await?;
        let hop = Arc::new(Hop::default());
        tokio::spawn(take_responders(Arc::clone(&hop), responders));
        let router = Router::new().route("/{*path}", post(call)).with_state(hop);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn call(State(hop): State<Arc<Hop>>, body: Bytes) -> Result<Bytes, StatusCode> {
    let id = hop.next_id.fetch_add(1, Ordering::Relaxed);
    let (answer, answered) = oneshot::channel();
    hop.waiting.lock().insert(id, answer);
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.put_u32(body.len() as u32);
    frame.put_u64(id);
    frame.put_slice(&body);
    {
        let mut responder = hop.responder.lock().await;
        let responder = responder.as_mut().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        responder.write_all(&frame).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    }
    answered.await.map_err(|_| StatusCode::BAD_GATEWAY)
}

/// The last one that came answers.
async fn take_responders(hop: Arc<Hop>, listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (answers, mut requests) = stream.into_split();
        // Whoever has read the greeting finds the responder there, if only after it has waited for the lock.
        let mut responder = hop.responder.lock().await;
        requests.write_all(b"+").await?;
        *responder = Some(requests);
        drop(responder);
        tokio::spawn(take_answers(Arc::clone(&hop), answers));
    }
}

async fn take_answers(hop: Arc<Hop>, mut answers: OwnedReadHalf) -> Result<()> {
    let mut pending = BytesMut::with_capacity(64 * 1024);
    while answers.read_buf(&mut pending).await? > 0 {
        while let Some((id, body)) = answer(&mut pending) {
            let waiting = hop.waiting.lock().remove(&id);
            if let Some(waiting) = waiting {
                drop(waiting.send(body)); // Fails when its caller has gone.
            }
        }
    }
    hop.waiting.lock().clear();
    Ok(())
}

/// Takes the first answer, if it is whole.
fn answer(pending: &mut BytesMut) -> Option<(u64, Bytes)> {
    let length = pending.get(..4).map(|mut length| length.get_u32() as usize)?;
    if pending.len() < HEAD_BYTES + length {
        return None;
    }
    pending.advance(4);
    let id = pending.get_u64();
    Some((id, pending.split_to(length).freeze()))
}
