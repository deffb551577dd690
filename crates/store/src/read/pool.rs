//! A few threads that read, so that no reader's disk holds up an executor.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

/// The threads, and what waits for them.
pub(crate) struct ReadPool {
    shared: Arc<(Mutex<State>, Condvar)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for ReadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadPool").finish_non_exhaustive()
    }
}

impl ReadPool {
    pub(crate) fn start(n_threads: usize) -> std::io::Result<Self> {
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let mut threads = Vec::new();
        for _ in 0..n_threads {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::Builder::new().name("quintet-read".into()).spawn(move || work(&shared))?);
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Queues a task. Callers bound how many they have under way; the hub does so by `limits.history_reads`.
    pub(crate) fn run(&self, task: impl FnOnce() + Send + 'static) {
        let (state, filled) = &*self.shared;
        state.lock().tasks.push_back(Box::new(task));
        filled.notify_one();
    }
}

fn work(shared: &(Mutex<State>, Condvar)) {
    let (state, filled) = shared;
    loop {
        let task = {
            let mut state = state.lock();
            loop {
                if let Some(task) = state.tasks.pop_front() {
                    break task;
                }
                if state.closed {
                    return;
                }
                filled.wait(&mut state);
            }
        };
        task();
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        let (state, filled) = &*self.shared;
        state.lock().closed = true;
        filled.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            // A task may hold the last reference to the store, and so run this on a thread of the pool.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a reading thread panicked");
            }
        }
    }
}
