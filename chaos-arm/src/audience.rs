//! Tells subscribers what the keeper does.

use chaos_api::{Ended, Notice};
use tokio::sync::broadcast;

/// Notices kept for a subscriber that is slow; older ones are lost to it.
const BACKLOG: usize = 4096;
/// Of endings: as many as there are targets on a node at most (`--most-targets`), which may all end at once.
const ENDINGS: usize = 4096;

/// Whoever listens to the keeper.
#[derive(Clone)]
pub struct Audience {
    notices: broadcast::Sender<Notice>,
    /// Of these alone: injections come in great numbers, and would push out what a subscriber must not miss.
    endings: broadcast::Sender<Notice>,
}

impl Default for Audience {
    fn default() -> Self {
        Self { notices: broadcast::channel(BACKLOG).0, endings: broadcast::channel(ENDINGS).0 }
    }
}

impl Audience {
    /// Tells those who are there; nobody need be.
    pub fn tell(&self, notice: Notice) {
        if let Notice::Ended(Ended { id, why, .. }) | Notice::Disarmed(Ended { id, why, .. }) =
            &notice
        {
            tracing::info!(%id, %why, "disarmed");
            drop(self.endings.send(notice.clone()));
        }
        drop(self.notices.send(notice));
    }

    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// What is not armed any more, from now on.
    pub fn subscribe_to_endings(&self) -> broadcast::Receiver<Notice> {
        self.endings.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use chaos_api::ArmedId;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    #[test]
    fn all_targets_of_a_node_may_end_at_once() {
        let audience = Audience::default();
        let mut endings = audience.subscribe_to_endings();
        for number in 0..4096 {
            let id = ArmedId(format!("pod:shop/web-{number}"));
            let why = "halt".to_owned();
            audience.tell(Notice::Disarmed(Ended { id, why, is_gone: false, report: None }));
        }
        let told = std::iter::from_fn(|| endings.try_recv().ok());
        assert_eq!(told.count(), 4096);
    }

    #[test]
    fn injections_push_out_no_ending() {
        let audience = Audience::default();
        let (mut all, mut endings) = (audience.subscribe(), audience.subscribe_to_endings());
        let id = ArmedId("pod:shop/till".to_owned());
        audience.tell(Notice::Disarmed(Ended {
            id: id.clone(),
            why: "halt".into(),
            is_gone: false,
            report: None,
        }));
        for _ in 0..2 * BACKLOG {
            audience.tell(Notice::Lost(id.clone(), 1));
        }
        assert!(matches!(all.try_recv(), Err(TryRecvError::Lagged(_))));
        assert!(matches!(endings.try_recv(), Ok(Notice::Disarmed(ended)) if ended.id == id));
        assert!(matches!(endings.try_recv(), Err(TryRecvError::Empty)));
    }
}
