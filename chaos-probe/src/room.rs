//! Bounds how many bytes of answers are kept at a time, of all questions together.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{connection::Patience, trouble::Trouble};

/// In KiB.
const WHOLE: usize = 16 << 10;

/// The room for all answers.
pub struct Rooms {
    left: Arc<Semaphore>,
}

/// The room of one answer. It has to live as long as anything that was read of that.
#[derive(Debug, Default)]
pub struct Room {
    _taken: Option<OwnedSemaphorePermit>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { left: Arc::new(Semaphore::new(WHOLE)) }
    }
}

impl Rooms {
    /// Waits until there is room for this many bytes.
    pub async fn take(&self, bytes: usize, patience: Patience) -> Result<Room, Trouble> {
        let size = bytes.div_ceil(1024).min(WHOLE);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let taken = timeout(patience.left(), Arc::clone(&self.left).acquire_many_owned(size)).await;
        let taken = taken.map_err(|_| Trouble::NoRoom(patience.whole()))?;
        Ok(Room { _taken: taken.ok() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_within_its_timeout() {
        let rooms = Rooms::default();
        let long = || Patience::of(Duration::from_secs(30));
        let mut taken = Vec::new();
        for _ in 0..16 {
            taken.push(rooms.take(1 << 20, long()).await.unwrap());
        }
        let error = rooms.take(1, Patience::of(Duration::from_millis(20))).await.unwrap_err();
        assert!(matches!(error, Trouble::NoRoom(_)) && !error.is_failure(), "{error}");
        let (waited, ()) = tokio::join!(rooms.take(2000, long()), async { drop(taken.pop()) });
        assert!(waited.is_ok());
    }
}
