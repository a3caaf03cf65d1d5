//! What the keeper did that concerns pods, out of all that it tells.

use chaos_api::{ArmedId, Ended, Engine, Notice};
use chaos_arm::Handle;
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::names::OWNER;

/// Something of a pod is not armed any more.
pub(super) enum Change {
    /// Nobody asked for that.
    Ended(Ended),
    /// Somebody asked for that: this loop, or a person at the node.
    Disarmed(Ended),
    /// Notices were missed.
    Unknown,
}

/// Passes on what concerns pods, until the keeper or the receiver is gone. That a pod was disarmed because
/// somebody asked for it must not be missed: it would be armed again.
pub(super) async fn forward<E: Engine>(handle: Handle<E>, changes: mpsc::UnboundedSender<Change>) {
    let is_pod = |id: &ArmedId| id.0.split_once(':').is_some_and(|(owner, _)| owner == OWNER);
    let mut notices = handle.subscribe_to_endings();
    drop(handle);
    loop {
        let change = match notices.recv().await {
            Ok(Notice::Ended(ended)) if is_pod(&ended.id) => Change::Ended(ended),
            Ok(Notice::Disarmed(ended)) if is_pod(&ended.id) => Change::Disarmed(ended),
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => Change::Unknown,
            Err(RecvError::Closed) => return,
        };
        if changes.send(change).is_err() {
            return;
        }
    }
}
