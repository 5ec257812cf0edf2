//! Stops a search at its cut-off, or when its caller is gone.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use tantivy::TantivyError;

/// Tells a search whether to go on.
#[derive(Debug)]
pub(super) struct Stop {
    /// The caller drops the only strong reference.
    caller: Weak<()>,
    cutoff: Instant,
    is_cut: AtomicBool,
}

impl Stop {
    /// Lets a search go on until `cutoff`, as long as `caller` exists.
    pub(super) fn new(caller: Weak<()>, cutoff: Instant) -> Self {
        Self {
            caller,
            cutoff,
            is_cut: AtomicBool::new(false),
        }
    }

    /// Returns whether the search must end with what it has found.
    ///
    /// # Errors
    /// The caller is gone.
    pub(super) fn is_over(&self) -> tantivy::Result<bool> {
        if self.caller.strong_count() == 0 {
            return Err(TantivyError::SystemError("nobody waits any more".into()));
        }
        let is_over = Instant::now() >= self.cutoff;
        if is_over {
            self.is_cut.store(true, Relaxed);
        }
        Ok(is_over)
    }

    /// Returns whether the search ended before it had examined everything.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }
}
