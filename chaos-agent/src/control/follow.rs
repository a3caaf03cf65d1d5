//! Telling a client what happens, while it happens.

use std::{io, iter};

use chaos_api::{ArmedId, Ended, Notice};
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{
        broadcast::{
            self,
            error::{RecvError, TryRecvError},
        },
        watch,
    },
};

use super::{
    connection::{is_over, write},
    event::{Clocks, event},
    lines::Lines,
    protocol::{Answer, Event},
};
use crate::Handle;

/// What a client is told of.
pub(super) struct Told {
    pub notices: broadcast::Receiver<Notice>,
    /// Those of [`Told::notices`] that a client must not miss.
    pub endings: broadcast::Receiver<Notice>,
}

impl Told {
    pub fn by(handle: &Handle) -> Self {
        Self { notices: handle.subscribe(), endings: handle.subscribe_to_endings() }
    }

    /// The ending of a target, of which the notice may have been lost among others.
    fn ending_of(&mut self, id: &ArmedId) -> Option<Ended> {
        let endings = iter::from_fn(|| match self.endings.try_recv() {
            Ok(notice) => Some(Some(notice)),
            Err(TryRecvError::Lagged(_)) => Some(None),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        });
        endings.flatten().find_map(|notice| match notice {
            Notice::Ended(ended) | Notice::Disarmed(ended) if ended.id == *id => Some(ended),
            Notice::Ended(_) | Notice::Disarmed(_) | Notice::Injected(_) | Notice::Lost(..) => None,
        })
    }
}

/// Writes one event a line until the client closes its end, the agent shuts down, or the target
/// that it asked for is no longer armed.
pub(super) async fn follow(
    mut told: Told,
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
            notice = told.notices.recv() => notice,
            () = is_over(shutdown) => return Ok(()),
        };
        let event = match notice {
            Ok(notice) => event(notice, &Clocks::read()),
            Err(RecvError::Lagged(number)) => {
                let ended = only.and_then(|id| told.ending_of(id));
                write(writer, Answer::Event(Event::Lost { id: None, number })).await?;
                match ended {
                    Some(ended) => Event::Ended(ended),
                    None => continue,
                }
            }
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

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::UnixStream};

    use super::*;

    #[tokio::test]
    async fn whoever_was_too_slow_for_injections_is_still_told_of_the_end() {
        let (to_all, notices) = broadcast::channel(4);
        let (to_some, endings) = broadcast::channel(4);
        let [id, other] = ["cli:1", "cli:2"].map(|id| ArmedId(id.to_owned()));
        for id in [&other, &id] {
            let why = "somebody said so".to_owned();
            let ended = Ended { id: id.clone(), why, is_gone: false, report: None };
            to_some.send(Notice::Disarmed(ended.clone())).unwrap();
            to_all.send(Notice::Disarmed(ended)).unwrap();
        }
        for _ in 0..10 {
            to_all.send(Notice::Lost(other.clone(), 1)).unwrap();
        }
        let (agent, mut client) = UnixStream::pair().unwrap();
        let (reader, mut writer) = agent.into_split();
        let (mut lines, told) = (Lines::new(reader, 100), Told { notices, endings });
        let (_stop, mut stopped) = watch::channel(false);
        // Where it is not told, it follows until nobody can tell any more.
        drop((to_all, to_some));
        follow(told, Some(&id), &mut writer, &mut lines, &mut stopped).await.unwrap();
        drop((writer, lines));
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        let said: Vec<&str> = text.lines().collect();
        assert_eq!(said.len(), 2, "{text}");
        assert!(said[0].contains("lost") && said[1].contains("somebody said so"), "{text}");
    }
}
