//! Being told to stop: a run ends with an error at the next look at its clients, so that servers and their folders go with it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static IS_TOLD: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Hears SIGINT and SIGTERM from here on; the second ends the process at once.
pub(crate) fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_default(signal, Arc::clone(&IS_TOLD))?;
        flag::register(signal, Arc::clone(&IS_TOLD))?;
    }
    Ok(())
}

/// An error once the process was told to stop.
pub(crate) fn check() -> io::Result<()> {
    if IS_TOLD.load(Ordering::Relaxed) {
        Err(io::Error::other("stopped by a signal"))
    } else {
        Ok(())
    }
}
