//! A client that speaks a few fixed lines, waits for the answer to each, and then counts a pattern in what arrives.
//! It is every push subscriber and every publisher that does not speak HTTP.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};
use memchr::memmem;

use crate::load::client::{Client, Tally, excerpt, marks};
use crate::load::worker::Speech;

/// How long an answer to one line may get before it is hopeless.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A line and how its answer begins and ends.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) say: Vec<u8>,
    pub(crate) starts: &'static [u8],
    pub(crate) ends: &'static [u8],
}

/// What the counted pattern means.
#[derive(Debug)]
pub(crate) enum Counts {
    /// One delivery.
    Deliveries,
    /// One answer to a publish: this pattern. The last field is sent again after each.
    Acknowledgements(&'static [u8], Option<Rc<[u8]>>),
    /// What a worker of a group hears.
    Work(Box<dyn Speech>),
}

#[derive(Debug)]
pub(crate) struct Scripted {
    steps: Rc<[Step]>,
    step: usize,
    /// What the current step has got so far; later the end of the last read, where a pattern may have begun.
    seen: Vec<u8>,
    /// When each publish that is still unanswered was sent; answers come in their order.
    asked: VecDeque<Instant>,
    counts: Counts,
}

impl Scripted {
    /// A subscriber.
    pub(crate) fn follower(steps: Rc<[Step]>) -> Scripted {
        Scripted { steps, step: 0, seen: Vec::new(), asked: VecDeque::new(), counts: Counts::Deliveries }
    }

    /// A publisher. Without a pattern nothing is acknowledged.
    pub(crate) fn publisher(steps: Rc<[Step]>, pattern: &'static [u8], again: Option<Rc<[u8]>>) -> Scripted {
        let counts = Counts::Acknowledgements(pattern, again);
        Scripted { steps, step: 0, seen: Vec::new(), asked: VecDeque::new(), counts }
    }

    /// A worker of a group.
    pub(crate) fn worker(steps: Rc<[Step]>, speech: Box<dyn Speech>) -> Scripted {
        let counts = Counts::Work(speech);
        Scripted { steps, step: 0, seen: Vec::new(), asked: VecDeque::new(), counts }
    }

    fn say(&mut self, out: &mut Vec<u8>, tally: &mut Tally) {
        match self.steps.get(self.step) {
            Some(step) => out.extend_from_slice(&step.say),
            None => tally.ready += 1,
        }
    }

    fn count(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()> {
        match &mut self.counts {
            Counts::Deliveries => tally.delivered += marks(bytes),
            Counts::Work(speech) => {
                self.seen.extend_from_slice(bytes);
                let heard = speech.hear(&mut self.seen, out)?;
                tally.delivered += heard.delivered;
                tally.acknowledged += heard.confirmed;
            }
            Counts::Acknowledgements(b"", _) => {}
            Counts::Acknowledgements(pattern, again) => {
                self.seen.extend_from_slice(bytes);
                if memmem::find(&self.seen, br#""error""#).is_some() {
                    bail!("a publish was refused: {}", excerpt(&self.seen));
                }
                let (mut found, mut end) = (0, 0);
                for at in memmem::find_iter(&self.seen, pattern) {
                    (found, end) = (found + 1, at + pattern.len());
                }
                let now = Instant::now();
                for asked in self.asked.drain(..self.asked.len().min(found)) {
                    let elapsed_us = now.duration_since(asked).as_micros();
                    tally.latencies_us.push(u32::try_from(elapsed_us).unwrap_or(u32::MAX));
                }
                tally.acknowledged += found as u64;
                if let (true, Some(again)) = (tally.going, again) {
                    (0..found).for_each(|_| out.extend_from_slice(again));
                    self.asked.extend(std::iter::repeat_n(now, found));
                }
                let keep = end.max(self.seen.len().saturating_sub(pattern.len() - 1));
                self.seen.drain(..keep);
            }
        }
        Ok(())
    }
}

impl Client for Scripted {
    fn sent(&mut self) {
        if matches!(self.counts, Counts::Acknowledgements(_, Some(_))) {
            self.asked.push_back(Instant::now());
        }
    }

    fn open(&mut self, out: &mut Vec<u8>, tally: &mut Tally) {
        self.say(out, tally);
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()> {
        let steps = Rc::clone(&self.steps);
        let Some(step) = steps.get(self.step) else { return self.count(bytes, out, tally) };
        self.seen.extend_from_slice(bytes);
        let known = self.seen.len().min(step.starts.len());
        if self.seen[..known] != step.starts[..known] || self.seen.len() > ANSWER_BYTES_MAX {
            bail!("expected {}, got {}", excerpt(step.starts), excerpt(&self.seen));
        }
        let Some(at) = memmem::find(&self.seen, step.ends) else { return Ok(()) };
        let rest = std::mem::take(&mut self.seen).split_off(at + step.ends.len());
        self.step += 1;
        self.say(out, tally);
        if rest.is_empty() { Ok(()) } else { self.receive(&rest, out, tally) }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use crate::load::client::{Client, Tally};
    use crate::load::scripted::{Scripted, Step};

    #[test]
    fn an_acknowledgement_cut_in_two_counts_once() {
        let mut publisher = Scripted::publisher(Rc::new([]), br#""ok":"#, None);
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        publisher.open(&mut out, &mut tally);
        for piece in [br#"{"id":1,"o"#.as_slice(), br#"k":{}}{"id":1,"ok":"#, b"{}}"] {
            publisher.receive(piece, &mut out, &mut tally).expect("no refusal");
        }
        assert_eq!((tally.ready, tally.acknowledged), (1, 2));
    }

    #[test]
    fn what_follows_the_last_answer_is_counted() {
        let step = Step { say: b"hello".to_vec(), starts: b"hi", ends: b"\n" };
        let mut follower = Scripted::follower(Rc::new([step]));
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        follower.open(&mut out, &mut tally);
        follower.receive(b"h", &mut out, &mut tally).expect("the beginning");
        follower.receive(b"i\na^b^", &mut out, &mut tally).expect("the rest");
        assert_eq!((out.as_slice(), tally.ready, tally.delivered), (b"hello".as_slice(), 1, 2));
        assert!(
            Scripted::follower(Rc::new([Step { say: vec![], starts: b"hi", ends: b"\n" }]))
                .receive(b"no", &mut out, &mut tally)
                .is_err()
        );
    }
}
