//! What a service manager is told: ready, stopping, still alive. Without one, telling costs nothing and says nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells that every listener accepts; `status` is shown by `systemctl status`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the node stops and its clients are being handed over.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often [`still_alive`] must be called, with half the allowed time to spare; nothing if nobody watches.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Tells that the node makes progress. Call it only when every core has answered since the last time.
pub fn still_alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "service manager not told");
    }
}
