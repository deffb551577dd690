//! The answers of a group. A wake-up from outside of the executor costs several times what one from inside costs, so
//! those of a large group are given by a task: the commit thread wakes it once, and goes on with the next group.

use quintet_core::engine::transaction::Outcome;
use quintet_core::error::{Error, Result};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};

/// Fewer are given at once: then waking the task would not pay.
const HANDED_OVER_MIN: usize = 4;

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

/// Gives answers.
#[derive(Debug)]
pub(crate) struct Answering(Option<mpsc::UnboundedSender<Answers>>);

impl Answering {
    /// Has them given by a task of the current runtime, if it is one whose tasks run whatever its callers do.
    pub(crate) fn start() -> Self {
        let runtime = Handle::try_current().ok().filter(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        Self(runtime.map(|runtime| {
            // Each transaction has one answer, so what is in the channel is bounded by those that wait.
            let (to, mut from) = mpsc::unbounded_channel::<Answers>();
            runtime.spawn(async move {
                while let Some(answers) = from.recv().await {
                    drop(answers);
                }
            });
            to
        }))
    }

    pub(crate) fn give(&self, answers: Answers) {
        match &self.0 {
            // If the runtime has ended they come back, and are given by being dropped.
            Some(task) if answers.0.len() >= HANDED_OVER_MIN => drop(task.send(answers)),
            _ => drop(answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_answers() -> (Answers, Vec<oneshot::Receiver<Result<Vec<Outcome>>>>) {
        let mut answers = Answers::default();
        let waiting = (0..10).map(|_| {
            let (to, from) = oneshot::channel();
            answers.push(to, Ok(Vec::new()));
            from
        });
        let waiting = waiting.collect();
        (answers, waiting)
    }

    #[test]
    fn all_are_given_whatever_becomes_of_the_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let answering = runtime.block_on(async { Answering::start() });
        let (answers, waiting) = some_answers();
        answering.give(answers);
        runtime.block_on(async {
            for answer in waiting {
                assert!(answer.await.unwrap().is_ok());
            }
        });
        drop(runtime);
        for answering in [answering, Answering::start()] {
            let (answers, waiting) = some_answers();
            answering.give(answers);
            assert!(waiting.into_iter().all(|mut answer| answer.try_recv().unwrap().is_ok()));
        }
    }
}
