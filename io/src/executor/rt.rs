//! The calls into glommio that the rest of the product needs, so that its peculiarities are met in one place.

use std::fs::File;
use std::future::Future;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use glommio::io::BufferedFile;

/// Runs a task on this executor, beside the caller.
///
/// It is scheduled, not run inside the caller's stack as glommio's own `spawn_local` does: a borrow that the caller holds cannot meet it.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let queue = glommio::executor().current_task_queue();
    glommio::spawn_local_into(future, queue)
        .expect("the queue of the running task exists")
        .detach();
}

/// Runs blocking work on a thread of its own; a panic there is the result, not a caller that waits for ever.
pub async fn spawn_blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> thread::Result<R> {
    glommio::executor()
        .spawn_blocking(move || catch_unwind(AssertUnwindSafe(work)))
        .await
}

/// Waits. At most a few such timers per executor: one task may hold no more than 32,767 wakers.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Lets the other tasks of this executor run.
pub async fn yield_now() {
    glommio::executor().yield_now().await;
}

/// A counter of the kernel (eventfd, timerfd) whose reads wait in the runtime's ring.
pub(crate) struct Readable(BufferedFile);

impl Readable {
    /// Takes over a counter whose reads block.
    #[expect(unsafe_code, reason = "glommio takes descriptors as numbers only")]
    pub(crate) fn new(counter: File) -> Self {
        // SAFETY: the descriptor is open and owned, and its ownership goes into the glommio file.
        Self(unsafe { BufferedFile::from_raw_fd(counter.into_raw_fd()) })
    }

    /// Waits until the counter is not zero, and takes its value.
    pub(crate) async fn next(&self) {
        if let Err(error) = self.0.read_at(0, 8).await {
            // Nothing is known to cause it; a pause keeps it from turning into a busy loop.
            tracing::warn!(%error, "wake-up descriptor not readable");
            sleep(Duration::from_millis(100)).await;
        }
    }
}
