//! Telling a client what happens, while it happens.

use std::io;

use chaos_api::{ArmedId, Notice};
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
};

use super::{
    connection::{is_over, write},
    event::{Clocks, event},
    lines::Lines,
    protocol::{Answer, Event},
};

/// Writes one event a line until the client closes its end, the agent shuts down, or the target
/// that it asked for is no longer armed.
pub(super) async fn follow(
    mut notices: broadcast::Receiver<Notice>,
    only: Option<&ArmedId>,
    writer: &mut OwnedWriteHalf,
    lines: &mut Lines<OwnedReadHalf>,
    shutdown: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let mut closed = std::pin::pin!(lines.closed());
    loop {
        // What was told before the agent shuts down still goes out.
        let notice = tokio::select! {
            biased;
            () = &mut closed => return Ok(()),
            notice = notices.recv() => notice,
            () = is_over(shutdown) => return Ok(()),
        };
        let event = match notice {
            Ok(notice) => event(notice, &Clocks::read()),
            Err(RecvError::Lagged(number)) => Event::Lost { id: None, number },
            Err(RecvError::Closed) => return Ok(()),
        };
        if !concerns(&event, only) {
            continue;
        }
        let is_last = only.is_some() && matches!(event, Event::Ended(_));
        write(writer, Answer::Event(event)).await?;
        if is_last {
            return Ok(());
        }
    }
}

fn concerns(event: &Event, only: Option<&ArmedId>) -> bool {
    let Some(only) = only else { return true };
    match event {
        Event::Injected(injection) => injection.id == *only,
        Event::Ended(ended) => ended.id == *only,
        Event::Lost { id, .. } => id.as_ref().is_none_or(|id| id == only),
    }
}
