//! A client that polls and polls again, each time from where the last answer left it.

use std::rc::Rc;

use anyhow::{Result, bail};

use crate::load::client::{Client, Tally, excerpt, marks};
use crate::load::http::{Response, Responses};

/// Makes the next request out of a response.
pub(crate) type Next = dyn Fn(&Response<'_>) -> Vec<u8>;

/// How a server's long polls are made.
pub(crate) struct LongPoller {
    first: Vec<u8>,
    next: Rc<Next>,
    /// Whether the first request is answered at once; otherwise it parks, and being sent has to do.
    is_first_answered: bool,
    is_ready: bool,
    responses: Responses,
}

impl LongPoller {
    pub(crate) fn new(first: Vec<u8>, is_first_answered: bool, next: Rc<Next>) -> LongPoller {
        LongPoller { first, next, is_first_answered, is_ready: false, responses: Responses::default() }
    }
}

impl Client for LongPoller {
    fn open(&mut self, out: &mut Vec<u8>, tally: &mut Tally) {
        *out = std::mem::take(&mut self.first);
        if !self.is_first_answered {
            self.is_ready = true;
            tally.ready += 1;
        }
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()> {
        let LongPoller { next, is_ready, responses, .. } = self;
        responses.feed(bytes, |response| {
            if !matches!(response.status, 200 | 204 | 304) {
                bail!("a poll got {}: {}", response.status, excerpt(response.body));
            }
            tally.delivered += marks(response.body);
            out.extend_from_slice(&next(response));
            if !*is_ready {
                *is_ready = true;
                tally.ready += 1;
            }
            Ok(())
        })
    }
}
