//! A socket that can be closed while a task waits on it: a task that is told to end does so a little
//! later, and until then its port would not be free.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A socket, until it is shut.
#[derive(Debug)]
pub(super) struct Door<T>(Mutex<Option<T>>);

impl<T> Door<T> {
    pub(super) fn new(socket: T) -> Self {
        Self(Mutex::new(Some(socket)))
    }

    /// The socket, if it is still there.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever can be shut.
pub(super) trait Shut: fmt::Debug + Send + Sync {
    /// Closes the socket. Whoever waits for it is not woken.
    fn shut(&self);
}

impl<T: fmt::Debug + Send> Shut for Door<T> {
    fn shut(&self) {
        drop(self.lock().take());
    }
}
