//! A sink that holds one delivery until somebody takes it: for readers that are futures or streams.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::fanout::{Delivery, FollowerHandle, Sink, Taken};

/// The sink's end.
pub struct Letterbox {
    slot: Arc<Mutex<Slot>>,
}

/// The reader's end. Dropping it ends the follower.
pub struct Mailbox {
    slot: Arc<Mutex<Slot>>,
    handle: Option<FollowerHandle>,
}

#[derive(Default)]
struct Slot {
    delivery: Option<Delivery>,
    waker: Option<Waker>,
    reader_gone: bool,
    follower_gone: bool,
}

/// A letterbox to give to `follow`, and its mailbox, which needs the follower's handle then.
pub fn mailbox() -> (Letterbox, Mailbox) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (Letterbox { slot: Arc::clone(&slot) }, Mailbox { slot, handle: None })
}

impl Sink for Letterbox {
    fn deliver(&mut self, delivery: &Delivery) -> Taken {
        let mut slot = self.slot.lock();
        if slot.reader_gone {
            return Taken::Gone;
        }
        if slot.delivery.is_some() {
            return Taken::No;
        }
        slot.delivery = Some(delivery.clone());
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        Taken::YesAndFull
    }
}

impl Drop for Letterbox {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.follower_gone = true;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl Mailbox {
    /// Ties the mailbox to its follower.
    pub fn attach(&mut self, handle: FollowerHandle) {
        self.handle = Some(handle);
    }

    /// The next delivery; none when the follower has ended and everything was taken.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut slot = self.slot.lock();
        if let Some(delivery) = slot.delivery.take() {
            drop(slot);
            if let Some(handle) = &self.handle {
                handle.ready();
            }
            return Poll::Ready(Some(delivery));
        }
        if slot.follower_gone {
            return Poll::Ready(None);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for the next delivery; none when the follower has ended. Dropping the future loses nothing.
    pub async fn take(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll_take(cx)).await
    }

    /// Takes what is there already.
    pub fn try_take(&mut self) -> Option<Delivery> {
        let delivery = self.slot.lock().delivery.take();
        if delivery.is_some()
            && let Some(handle) = &self.handle
        {
            handle.ready();
        }
        delivery
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.slot.lock().reader_gone = true;
    }
}

impl fmt::Debug for Letterbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letterbox").finish_non_exhaustive()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("handle", &self.handle).finish_non_exhaustive()
    }
}
