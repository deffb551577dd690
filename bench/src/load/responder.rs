//! A responder that dials in over `/ws` and answers each request with its own body.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::load::client::{Client, Tally, excerpt};
use crate::load::websocket::{frames, text, upgrade};

/// Answers what a service is asked.
#[derive(Debug)]
pub(crate) struct Responder {
    service: String,
    concurrency: usize,
    is_open: bool,
    seen: Vec<u8>,
}

impl Responder {
    pub(crate) fn new(service: &str, concurrency: usize) -> Responder {
        Responder { service: service.to_owned(), concurrency, is_open: false, seen: Vec::new() }
    }

    fn take(frame: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()> {
        if frame.first() != Some(&b'{') {
            return Ok(()); // A ping.
        }
        let mut frame: Value = serde_json::from_slice(frame).context("a frame that is not JSON")?;
        if frame.pointer("/ok/responder").is_some() {
            tally.ready += 1;
        } else if !frame["error"].is_null() {
            bail!("a responder got {frame}");
        } else if !frame["request"].is_null() {
            let request = &mut frame["request"];
            let reply = json!({"id": 2, "reply": {"request": request["id"].take(), "status": 200,
                "type": "text/plain", "data": request["data"].take()}});
            out.extend_from_slice(&text(&reply.to_string()));
        }
        Ok(())
    }
}

impl Client for Responder {
    fn open(&mut self, out: &mut Vec<u8>, _tally: &mut Tally) {
        *out = upgrade("/ws", "quintet.v1").say;
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()> {
        self.seen.extend_from_slice(bytes);
        if !self.is_open {
            let Some(end) = memchr::memmem::find(&self.seen, b"\r\n\r\n") else { return Ok(()) };
            if !self.seen.starts_with(b"HTTP/1.1 101") {
                bail!("no session: {}", excerpt(&self.seen));
            }
            self.seen.drain(..end + 4);
            self.is_open = true;
            let respond = json!({"id": 1, "respond": {"service": self.service, "concurrency": self.concurrency}});
            out.extend_from_slice(&text(&respond.to_string()));
        }
        let (whole, used) = frames(&self.seen);
        for frame in whole {
            Responder::take(frame, out, tally)?;
        }
        self.seen.drain(..used);
        Ok(())
    }
}
