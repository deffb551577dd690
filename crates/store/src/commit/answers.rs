//! The answers of a group. A wake-up from outside of the executor costs several times what one from inside costs, so
//! they are given by a task: the commit thread wakes it once, and goes on with the next group.

use std::sync::Arc;

use parking_lot::Mutex;
use quintet_core::engine::transaction::Outcome;
use quintet_core::error::{Error, Result};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, oneshot};

use crate::commit::bell::{self, Bell};

/// So many keep more than one thread of the runtime busy.
const MANY: usize = 4;

type Answer = (oneshot::Sender<Result<Vec<Outcome>>>, Result<Vec<Outcome>>);

/// Answers that are still to be given. They are given when it is dropped, wherever that is.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<Answer>);

impl Answers {
    pub(crate) fn with_room_for(n: usize) -> Self {
        Self(Vec::with_capacity(n))
    }

    pub(crate) fn push(&mut self, to: oneshot::Sender<Result<Vec<Outcome>>>, answer: Result<Vec<Outcome>>) {
        self.0.push((to, answer));
    }

    /// Replaces all of them.
    pub(crate) fn refuse(&mut self, error: &Error) {
        self.0.iter_mut().for_each(|(_, answer)| *answer = Err(error.clone()));
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for (to, answer) in self.0.drain(..) {
            // The caller may have gone; the transaction goes its way.
            drop(to.send(answer));
        }
    }
}

/// Gives answers, through a task where there is a runtime for it.
#[derive(Debug)]
pub(crate) struct Answering(Option<Arc<Desk>>);

/// Where the answers lie that a task is to give.
#[derive(Debug)]
struct Desk {
    /// For a few answers.
    bell: Bell,
    /// For many. It wakes a thread that wakes another one, which then takes a part of those who got their answers.
    many: Notify,
    state: Mutex<Lying>,
}

#[derive(Debug, Default)]
struct Lying {
    // Each transaction has one answer, so what is here is bounded by those that wait.
    answers: Vec<Answers>,
    /// The task has ended, with its runtime.
    ended: bool,
}

impl Desk {
    fn lay(&self, answers: Answers) {
        let mut lying = self.state.lock();
        if lying.ended {
            drop(lying);
            drop(answers);
            return;
        }
        let (many, woken) = (answers.0.len() >= MANY, !lying.answers.is_empty());
        lying.answers.push(answers);
        drop(lying);
        match (woken, many) {
            (true, _) => {}
            (false, true) => self.many.notify_one(),
            (false, false) => self.bell.ring(),
        }
    }
}

/// However the task ends, nobody is left waiting.
struct Closing(Arc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut lying = self.0.state.lock();
        lying.ended = true;
        let answers = std::mem::take(&mut lying.answers);
        drop(lying);
        drop(answers);
    }
}

impl Answering {
    /// Has them given by a task of the current runtime, if it is one whose tasks run whatever its callers do.
    pub(crate) fn start() -> Self {
        let runtime = Handle::try_current().ok().filter(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        Self(runtime.and_then(|runtime| {
            let (bell, mut rung) = bell::hang().ok()?;
            let desk = Arc::new(Desk { bell, many: Notify::new(), state: Mutex::default() });
            let closing = Closing(Arc::clone(&desk));
            runtime.spawn(async move {
                loop {
                    tokio::select! {
                        biased;
                        () = closing.0.many.notified() => {}
                        rung = rung.rung() => if rung.is_err() { break },
                    }
                    let answers = std::mem::take(&mut closing.0.state.lock().answers);
                    drop(answers);
                }
            });
            Some(desk)
        }))
    }

    pub(crate) fn give(&self, answers: Answers) {
        match &self.0 {
            Some(desk) if !answers.0.is_empty() => desk.lay(answers),
            _ => drop(answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(n: usize) -> (Answers, Vec<oneshot::Receiver<Result<Vec<Outcome>>>>) {
        let mut answers = Answers::default();
        let waiting = (0..n).map(|_| {
            let (to, from) = oneshot::channel();
            answers.push(to, Ok(Vec::new()));
            from
        });
        let waiting = waiting.collect();
        (answers, waiting)
    }

    #[test]
    fn all_are_given_whatever_becomes_of_the_runtime() {
        for n in [1, MANY - 1, MANY, 100] {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let answering = runtime.block_on(async { Answering::start() });
            assert!(answering.0.is_some());
            let (some, waiting) = answers(n);
            answering.give(some);
            runtime.block_on(async {
                for answer in waiting {
                    assert!(answer.await.unwrap().is_ok());
                }
            });
            // Some lie there when it ends, and some come when it has.
            let (some, waiting) = answers(n);
            answering.give(some);
            drop(runtime);
            let (more, waiting_too) = answers(n);
            answering.give(more);
            let given = |mut answer: oneshot::Receiver<_>| answer.try_recv().is_ok();
            assert!(waiting.into_iter().chain(waiting_too).all(given));
        }
    }

    #[test]
    fn without_a_runtime_they_are_given_at_once() {
        let (some, waiting) = answers(10);
        Answering::start().give(some);
        assert!(waiting.into_iter().all(|mut answer| answer.try_recv().unwrap().is_ok()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn none_is_forgotten_however_they_come_together() {
        let answering = Arc::new(Answering::start());
        let mut all = Vec::new();
        let groups: Vec<_> = (0..2_000).map(|i| answers(1 + i * 7 % 9)).collect();
        let (some, waiting): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
        let giving = Arc::clone(&answering);
        let thread = std::thread::spawn(move || some.into_iter().for_each(|answers| giving.give(answers)));
        all.extend(waiting.into_iter().flatten());
        for answer in all {
            let answer = tokio::time::timeout(std::time::Duration::from_secs(20), answer).await;
            assert!(answer.expect("an answer in time").unwrap().is_ok());
        }
        thread.join().unwrap();
    }
}
