//! Reads and judges answers on threads of their own, a few at a time, so that whoever asks goes on whatever that costs.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::trouble::Trouble;

/// Answers that are judged at a time.
const AT_ONCE: usize = 4;

/// How long an answer waits for its turn. The time that the question has is for the service.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where answers are judged.
pub struct Judges {
    turns: Arc<Semaphore>,
}

impl Default for Judges {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Judges {
    /// Does work that may take long.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let wrong = |why: &str| Trouble::Question(format!("the answer is not judged: {why}"));
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| {
            wrong("others take too long; ask less often, or write simpler expressions")
        })?;
        // Work that nobody waits for any more goes on, and keeps its turn.
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.unwrap_or_else(|error| Err(wrong(&error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_thread_that_asks_goes_on_while_answers_are_judged() {
        let judges = Judges::default();
        let (release, held) = mpsc::channel::<()>();
        // The only thread of this test can release what is judged.
        let judged =
            judges.run(move || held.recv().map_err(|why| Trouble::Question(why.to_string())));
        let (judged, sent) = tokio::join!(judged, async { release.send(()) });
        assert!(judged.is_ok() && sent.is_ok());
        let broken = judges.run(|| -> Result<(), Trouble> { panic!("as a test") }).await;
        assert!(broken.unwrap_err().to_string().contains("is not judged"));
    }
}
