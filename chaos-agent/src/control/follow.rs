//! Telling a client what happens, while it happens.

use std::io;

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
    notices: broadcast::Receiver<Notice>,
    /// Whoever follows all targets is told of each end among the notices, or how many notices were lost.
    only: Option<One>,
}

/// The one target that a client follows.
struct One {
    id: ArmedId,
    /// Those of the notices that a client must not miss. What a subscriber does not read stays in memory.
    endings: broadcast::Receiver<Notice>,
    ended: Option<Ended>,
}

impl Told {
    /// Subscribes to what happens to one target, or to all.
    pub fn by(handle: &Handle, id: Option<ArmedId>) -> Self {
        let one = |id| One { id, endings: handle.subscribe_to_endings(), ended: None };
        Self { notices: handle.subscribe(), only: id.map(one) }
    }
}

impl One {
    /// Reads the endings that there are, and keeps that of the target: the notice of it may be lost among others.
    fn read_endings(&mut self) {
        let Self { id, endings, ended } = self;
        loop {
            match endings.try_recv() {
                Ok(Notice::Ended(last) | Notice::Disarmed(last)) if last.id == *id => {
                    *ended = Some(last);
                }
                Ok(
                    Notice::Ended(_) | Notice::Disarmed(_) | Notice::Injected(_) | Notice::Lost(..),
                )
                | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

/// Writes one event a line until the client closes its end, the agent shuts down, or the target
/// that it asked for is no longer armed.
pub(super) async fn follow(
    mut told: Told,
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
        if let Some(one) = &mut told.only {
            one.read_endings();
        }
        let event = match notice {
            Ok(notice) => event(notice, &Clocks::read()),
            Err(RecvError::Lagged(number)) => {
                let ended = told.only.as_mut().and_then(|one| one.ended.take());
                write(writer, Answer::Event(Event::Lost { id: None, number })).await?;
                match ended {
                    Some(ended) => Event::Ended(ended),
                    None => continue,
                }
            }
            Err(RecvError::Closed) => return Ok(()),
        };
        let only = told.only.as_ref().map(|one| &one.id);
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

    /// A keeper that tells of injections and ends, and a client that follows one target.
    struct Scene {
        to_all: broadcast::Sender<Notice>,
        to_some: broadcast::Sender<Notice>,
        told: Told,
    }

    impl Scene {
        fn set(id: &ArmedId) -> Self {
            let (to_all, notices) = broadcast::channel(4);
            let (to_some, endings) = broadcast::channel(4);
            let one = One { id: id.clone(), endings, ended: None };
            Self { to_all, to_some, told: Told { notices, only: Some(one) } }
        }

        fn end(&self, id: &ArmedId) {
            let why = "somebody said so".to_owned();
            let ended = Ended { id: id.clone(), why, is_gone: false, report: None };
            self.to_some.send(Notice::Disarmed(ended.clone())).unwrap();
            self.to_all.send(Notice::Disarmed(ended)).unwrap();
        }
    }

    fn ids() -> [ArmedId; 2] {
        ["cli:1", "cli:2"].map(|id| ArmedId(id.to_owned()))
    }

    #[tokio::test]
    async fn whoever_was_too_slow_for_injections_is_still_told_of_the_end() {
        let [id, other] = ids();
        let scene = Scene::set(&id);
        scene.end(&other);
        scene.end(&id);
        for _ in 0..10 {
            scene.to_all.send(Notice::Lost(other.clone(), 1)).unwrap();
        }
        let (agent, mut client) = UnixStream::pair().unwrap();
        let (reader, mut writer) = agent.into_split();
        let mut lines = Lines::new(reader, 100);
        let (_stop, mut stopped) = watch::channel(false);
        let Scene { to_all, to_some, told } = scene;
        // Where it is not told, it follows until nobody can tell any more.
        drop((to_all, to_some));
        follow(told, &mut writer, &mut lines, &mut stopped).await.unwrap();
        drop((writer, lines));
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        let said: Vec<&str> = text.lines().collect();
        assert_eq!(said.len(), 2, "{text}");
        assert!(said[0].contains("lost") && said[1].contains("somebody said so"), "{text}");
    }

    #[tokio::test]
    async fn whoever_reads_along_keeps_no_endings_of_others_in_memory() {
        let [id, other] = ids();
        let scene = Scene::set(&id);
        scene.end(&other);
        scene.to_all.send(Notice::Lost(id.clone(), 1)).unwrap();
        let (agent, mut client) = UnixStream::pair().unwrap();
        let (reader, mut writer) = agent.into_split();
        let mut lines = Lines::new(reader, 100);
        let (_stop, mut stopped) = watch::channel(false);
        let Scene { to_all: _to_all, to_some, told } = scene;
        let mut said = [0];
        let mut following = std::pin::pin!(follow(told, &mut writer, &mut lines, &mut stopped));
        tokio::select! {
            over = &mut following => panic!("{over:?}"),
            // It has been told of what came behind the end, and follows on.
            read = client.read_exact(&mut said) => assert_eq!(read.unwrap(), 1),
        }
        assert_eq!(to_some.len(), 0);
    }
}
