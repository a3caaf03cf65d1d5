//! What a conversation with a client needs, whatever it is about.

use std::{io, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::unix::OwnedWriteHalf, sync::watch, time::timeout};

use super::protocol::{Answer, Reply};

/// How long a client may take to say something, and to take an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the agent shuts down. Without a sender nobody could ever say so any more: it
/// counts as said.
pub(super) async fn is_over(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|over| *over).await);
}

/// Writes one line.
pub(super) async fn write(writer: &mut OwnedWriteHalf, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Reply::from(answer))?;
    line.push(b'\n');
    timeout(PATIENCE, writer.write_all(&line)).await?
}
