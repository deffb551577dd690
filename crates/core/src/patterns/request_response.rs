//! Request-response: hand a request to one registered responder, and wait for its reply.

use crate::limits::Limits;

/// Who serves what.
#[derive(Debug)]
pub(crate) struct Services;

impl Services {
    pub(crate) fn new(_limits: &Limits) -> Self {
        Self
    }

    pub(crate) fn stop(&self) {}

    pub(crate) fn keep_time(&self) {}
}
