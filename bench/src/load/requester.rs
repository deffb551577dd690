//! A keep-alive HTTP client whose responses are acknowledgements: of publishes, or of calls to a service.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::load::client::{Client, Tally, excerpt};
use crate::load::http::Responses;

/// Counts answers; with `again` it sends that after each, so that one request is always in flight.
pub(crate) struct Requester {
    again: Option<Rc<[u8]>>,
    asked: Instant,
    responses: Responses,
}

impl Requester {
    pub(crate) fn new(again: Option<Rc<[u8]>>) -> Requester {
        Requester { again, asked: Instant::now(), responses: Responses::default() }
    }
}

impl Client for Requester {
    fn sent(&mut self) {
        self.asked = Instant::now();
    }

    fn open(&mut self, _out: &mut Vec<u8>, tally: &mut Tally) {
        tally.ready += 1;
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()> {
        let Requester { again, asked, responses } = self;
        responses.feed(bytes, |response| {
            if !(200..300).contains(&response.status) {
                bail!("a request got {}: {}", response.status, excerpt(response.body));
            }
            tally.acknowledged += 1;
            if let Some(again) = again {
                let now = Instant::now();
                let elapsed_us = now.duration_since(*asked).as_micros();
                tally.latencies_us.push(u32::try_from(elapsed_us).unwrap_or(u32::MAX));
                *asked = now;
                if tally.going {
                    out.extend_from_slice(again);
                }
            }
            Ok(())
        })
    }
}
