//! What a service manager is told: ready, stopping, still alive. Without one, telling costs nothing and says nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells that every listener accepts; `status` is shown by `systemctl status`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the start goes on, and may take so much longer than was allowed.
pub fn still_starting(status: &str, extended_by: Duration) {
    let micros = u32::try_from(extended_by.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Status(status),
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
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
