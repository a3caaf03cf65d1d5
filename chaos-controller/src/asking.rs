//! Asks the questions of probes again and again, beside the loop that decides: however long an answer takes, it holds up
//! nothing but the questions behind it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chaos_api::{ControllerObserver, kinds::RunPhase};
use chaos_probe::{Asker, Outcome, Sample};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, Semaphore},
    task::{AbortHandle, Id, JoinSet},
    time::{Instant, sleep_until},
};

use crate::probes::{Question, Samples};

/// Questions at a time, of all runs together.
const AT_ONCE: usize = 64;

/// The loop looks at least this often: what is to be asked until then is set off now, and waits for its time.
const HORIZON: Duration = Duration::from_millis(1_500);

/// Whoever asks a question.
pub trait Ask: Clone + Send + Sync + 'static {
    /// Asks it, within the time that it allows.
    fn ask(&self, question: &Question) -> impl Future<Output = Sample> + Send;
    /// Drops what is kept for the questions of a run.
    fn forget(&self, run_uid: &str);
}

impl Ask for Asker {
    async fn ask(&self, question: &Question) -> Sample {
        let Question { asking, probing, baseline, .. } = question;
        Self::ask(self, asking, &probing.probe, *baseline).await
    }

    fn forget(&self, run_uid: &str) {
        Self::forget(self, run_uid);
    }
}

/// Asks, and tells whoever measures how long that took.
#[derive(Clone)]
pub struct Observed<A> {
    pub asker: A,
    pub observer: Arc<dyn ControllerObserver>,
}

impl<A: Ask> Ask for Observed<A> {
    async fn ask(&self, question: &Question) -> Sample {
        let asked_at = Instant::now();
        let sample = self.asker.ask(question).await;
        self.observer.asked(asked_at.elapsed());
        sample
    }

    fn forget(&self, run_uid: &str) {
        self.asker.forget(run_uid);
    }
}

/// Probes that are asked one after the other: those of one session of a run, or one alone.
type LaneKey = (String, Lane);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Session(String),
    Probe(String),
}

/// What is being asked, and when what is asked next.
pub struct Questions {
    lanes: BTreeMap<LaneKey, OfLane>,
    asking: JoinSet<Sample>,
    /// Which probe of which lane a task asks, and when that began.
    asked: HashMap<Id, (LaneKey, String, Timestamp)>,
    /// For those whose time has come.
    slots: Arc<Semaphore>,
}

#[derive(Default)]
struct OfLane {
    /// In the order of the experiment.
    questions: Vec<Question>,
    /// When each probe is to be asked next.
    due: BTreeMap<String, Instant>,
    /// While one of them is asked.
    asked: Option<AbortHandle>,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            asking: JoinSet::new(),
            asked: HashMap::new(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Questions {
    /// The answers that came since the last time.
    pub fn answers(&mut self) -> Samples {
        let mut samples = Samples::new();
        while let Some(ended) = self.asking.try_join_next_with_id() {
            let (id, answer) = match ended {
                Ok((id, sample)) => (id, Ok(sample)),
                Err(error) => (error.id(), Err(error)),
            };
            let Some((key, probe, at)) = self.asked.remove(&id) else { continue };
            let lane = self.lanes.get_mut(&key);
            // One that was aborted is not wanted any more, and its lane may ask something else.
            let is_of = |lane: &&mut OfLane| lane.asked.as_ref().is_some_and(|own| own.id() == id);
            let Some(lane) = lane.filter(is_of) else { continue };
            lane.asked = None;
            let sample = answer.unwrap_or_else(|error| {
                tracing::error!(%error, run = key.0, probe, "a probe was not asked to the end");
                let seen = "the controller could not ask to the end; its log says why".to_owned();
                Sample { at, outcome: Outcome::Error, value: None, seen }
            });
            samples.entry(key.0).or_default().push((probe, sample));
        }
        samples
    }

    /// Asks what is due, and nothing but what is wanted. Tells `changed` when there is an answer.
    pub fn ask(&mut self, wanted: Vec<Question>, asker: &impl Ask, changed: &Arc<Notify>) {
        self.want(wanted, asker);
        let now = Instant::now();
        let mut due: Vec<(Instant, LaneKey, Question)> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.asked.is_none())
            .filter_map(|(key, lane)| {
                let (at, question) = lane.next(now)?;
                (at <= now + HORIZON).then(|| (at, key.clone(), question.clone()))
            })
            .collect();
        // Who has waited longest is the first.
        due.sort_by_key(|(at, ..)| *at);
        let share = self.share();
        for (at, key, question) in due {
            if self.of_run(&key.0) >= share {
                continue;
            }
            let (asker, slots) = (asker.clone(), self.slots.clone());
            let tells = Tells(changed.clone());
            let probe = question.probing.probe.name.clone();
            let next = at.max(now) + question.every;
            let answer = async move {
                // Also where it ends without an answer.
                let _tells = tells;
                sleep_until(at).await;
                // One that waits for its time occupies nothing. Nobody closes it.
                let _slot = slots.acquire().await;
                asker.ask(&question).await
            };
            let handle = self.asking.spawn(answer);
            self.asked.insert(handle.id(), (key.clone(), probe.clone(), Timestamp::now()));
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.due.insert(probe, next);
                lane.asked = Some(handle);
            }
        }
    }

    /// Takes over what is to be asked from now on. Whatever is not among it is dropped, also while it is being asked.
    fn want(&mut self, wanted: Vec<Question>, asker: &impl Ask) {
        let mut lanes: BTreeMap<LaneKey, Vec<Question>> = BTreeMap::new();
        for question in wanted {
            let name = || Lane::Probe(question.probing.probe.name.clone());
            let session = question.probing.session().map(str::to_owned);
            let lane = session.map_or_else(name, Lane::Session);
            lanes.entry((question.asking.run_uid.clone(), lane)).or_default().push(question);
        }
        let runs = |keys: &mut dyn Iterator<Item = &LaneKey>| -> BTreeSet<String> {
            keys.map(|(run, _)| run.clone()).collect()
        };
        let before = runs(&mut self.lanes.keys());
        let now = runs(&mut lanes.keys());
        self.lanes.retain(|key, lane| {
            let is_wanted = lanes.contains_key(key);
            if let Some(asked) = lane.asked.as_ref().filter(|_| !is_wanted) {
                asked.abort();
            }
            is_wanted
        });
        before.difference(&now).for_each(|run| asker.forget(run));
        for (key, questions) in lanes {
            self.lanes.entry(key).or_default().want(questions);
        }
    }

    /// How many questions a run may ask at a time, so that each run can ask some.
    fn share(&self) -> usize {
        let runs: BTreeSet<&String> = self.lanes.keys().map(|(run, _)| run).collect();
        (AT_ONCE / runs.len().max(1)).max(1)
    }

    fn of_run(&self, run: &str) -> usize {
        let lanes = self.lanes.iter().filter(|((of, _), _)| of == run);
        lanes.filter(|(_, lane)| lane.asked.is_some()).count()
    }
}

impl OfLane {
    /// Takes over what is asked from now on. In another phase of the run everything is asked anew; what is under way when
    /// nothing is broken any more would tell of what was before.
    fn want(&mut self, questions: Vec<Question>) {
        let mut first = Instant::now();
        let phase = questions.first().map(|question| question.phase);
        let before = self.questions.first().map(|question| question.phase);
        if before.is_some() && before != phase {
            // A status has whole seconds: what is asked in this one would count for the phase before.
            first += Duration::from_secs(1);
            self.due.clear();
            if phase == Some(RunPhase::Recovering)
                && let Some(asked) = self.asked.take()
            {
                asked.abort();
            }
        }
        for question in &questions {
            self.due.entry(question.probing.probe.name.clone()).or_insert(first);
        }
        self.questions = questions;
    }

    /// What is asked next, and since when it is due, or will be: among those of one moment, in the order of the experiment.
    fn next(&self, now: Instant) -> Option<(Instant, &Question)> {
        let due = |question: &&Question| {
            let at = self.due.get(&question.probing.probe.name).copied();
            // One that is asked more often than before does not wait as long as it had to then.
            at.unwrap_or(now).min(now + question.every)
        };
        let next = self.questions.iter().min_by_key(due)?;
        Some((due(&next), next))
    }
}

/// Tells the loop that a task has ended, however it has.
struct Tells(Arc<Notify>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use chaos_api::kinds::Probe;
    use chaos_probe::{Asking, Outcome};
    use serde_json::json;

    use super::*;
    use crate::probes::Probing;

    /// Answers after some time, and notes what it was asked.
    #[derive(Clone, Default)]
    struct Fake {
        /// The run, the probe, and how many questions of its run were under way, with this one.
        asked: Arc<Mutex<Vec<(String, String, usize)>>>,
        open: Arc<Mutex<BTreeMap<String, usize>>>,
        forgotten: Arc<Mutex<Vec<String>>>,
        takes: Duration,
        /// Probes whose names begin so are never answered.
        hangs: Option<String>,
        /// To ask these panics.
        panics: bool,
    }

    impl Ask for Fake {
        async fn ask(&self, question: &Question) -> Sample {
            let run = question.asking.run_uid.clone();
            let open = {
                let mut open = self.open.lock().unwrap();
                let count = open.entry(run.clone()).or_default();
                *count += 1;
                *count
            };
            let probe = question.probing.probe.name.clone();
            self.asked.lock().unwrap().push((run.clone(), probe.clone(), open));
            assert!(!self.panics, "as the test wants it");
            if self.hangs.as_ref().is_some_and(|hangs| probe.starts_with(hangs.as_str())) {
                return std::future::pending().await;
            }
            tokio::time::sleep(self.takes).await;
            *self.open.lock().unwrap().entry(run).or_default() -= 1;
            let at = Timestamp::now();
            Sample { at, outcome: Outcome::Pass, value: None, seen: String::new() }
        }

        fn forget(&self, run_uid: &str) {
            self.forgotten.lock().unwrap().push(run_uid.to_owned());
        }
    }

    /// Asked again after so many milliseconds.
    fn question(run: &str, name: &str, session: Option<&str>, every: u64) -> Question {
        let http = json!({ "url": "http://web", "session": session });
        let probe: Probe = serde_json::from_value(json!({ "name": name, "http": http })).unwrap();
        let every = Duration::from_millis(every);
        let asking = Asking {
            namespace: "shop".into(),
            run_uid: run.into(),
            service_account: "default".into(),
        };
        let probing = Probing { probe, every, recover: every, timeout: every };
        Question { asking, probing, every, baseline: None, phase: RunPhase::Running }
    }

    /// Looks until there are so many answers: the probes, in their order.
    async fn look(
        questions: &mut Questions,
        wanted: &[Question],
        fake: &Fake,
        count: usize,
    ) -> Vec<String> {
        let changed = Arc::new(Notify::new());
        let mut answers = Vec::new();
        while answers.len() < count {
            questions.ask(wanted.to_vec(), fake, &changed);
            changed.notified().await;
            let samples = questions.answers().into_values().flatten();
            answers.extend(samples.map(|(probe, _)| probe));
        }
        answers
    }

    #[tokio::test]
    async fn probes_of_a_session_are_asked_one_after_the_other_in_their_order() {
        let mut questions = Questions::default();
        let fake = Fake { takes: Duration::from_millis(2), ..Fake::default() };
        let wanted = [
            question("run", "sign-in", Some("jason"), 50),
            question("run", "page", Some("jason"), 1),
        ];
        let answers = look(&mut questions, &wanted, &fake, 100).await;
        assert_eq!(answers[..2], ["sign-in", "page"]);
        let count = |name: &str| answers.iter().filter(|probe| *probe == name).count();
        assert!(count("sign-in") > 1 && count("page") > count("sign-in"), "{answers:?}");
        assert!(fake.asked.lock().unwrap().iter().all(|(.., open)| *open == 1));
    }

    #[tokio::test]
    async fn probes_without_a_session_do_not_wait_for_each_other() {
        let mut questions = Questions::default();
        let fake = Fake { hangs: Some("slow".into()), ..Fake::default() };
        let wanted = [question("run", "slow", None, 1), question("run", "quick", None, 1)];
        let answers = look(&mut questions, &wanted, &fake, 5).await;
        assert!(answers.iter().all(|probe| probe == "quick"), "{answers:?}");
        let asked = fake.asked.lock().unwrap();
        // At most one question at a time.
        assert_eq!(asked.iter().filter(|(_, probe, _)| probe == "slow").count(), 1);
    }

    #[tokio::test]
    async fn a_run_whose_probes_hang_leaves_room_for_others() {
        let mut questions = Questions::default();
        let fake = Fake { hangs: Some("slow".into()), ..Fake::default() };
        let mut wanted: Vec<Question> =
            (0..100).map(|n| question("bad", &format!("slow-{n}"), None, 1)).collect();
        wanted.push(question("good", "web", None, 1));
        look(&mut questions, &wanted, &fake, 10).await;
        let asked = fake.asked.lock().unwrap();
        assert_eq!(asked.iter().filter(|(run, ..)| run == "bad").count(), AT_ONCE / 2);
    }

    #[tokio::test]
    async fn nobody_starves_where_a_run_has_more_probes_than_its_share() {
        let mut questions = Questions::default();
        let fake = Fake::default();
        let wanted: Vec<Question> =
            (0..100).map(|n| question("run", &format!("web-{n}"), None, 1)).collect();
        look(&mut questions, &wanted, &fake, 400).await;
        let asked = fake.asked.lock().unwrap();
        let names: BTreeSet<&String> = asked.iter().map(|(_, probe, _)| probe).collect();
        assert_eq!(names.len(), 100);
    }

    #[tokio::test]
    async fn one_that_waits_for_its_time_is_in_nobodys_way() {
        let mut questions = Questions::default();
        let fake = Fake::default();
        // Each of as many runs as there are slots waits a second for its next question.
        let mut wanted: Vec<Question> =
            (0..AT_ONCE).map(|n| question(&format!("run-{n}"), "web", None, 1_000)).collect();
        look(&mut questions, &wanted, &fake, AT_ONCE).await;
        questions.ask(wanted.clone(), &fake, &Arc::new(Notify::new()));
        assert_eq!(questions.asking.len(), AT_ONCE);
        wanted.push(question("other", "web", None, 1));
        look(&mut questions, &wanted, &fake, 1).await;
        assert_eq!(fake.asked.lock().unwrap().last().unwrap().0, "other");
    }

    #[tokio::test]
    async fn a_question_that_ends_without_an_answer_is_an_error_and_is_asked_again() {
        let mut questions = Questions::default();
        let fake = Fake { panics: true, ..Fake::default() };
        let wanted = [question("run", "web", None, 1)];
        let changed = Arc::new(Notify::new());
        for _ in 0..3 {
            questions.ask(wanted.to_vec(), &fake, &changed);
            let mut samples = Samples::new();
            while samples.is_empty() {
                changed.notified().await;
                tokio::task::yield_now().await;
                samples = questions.answers();
            }
            let (probe, sample) = &samples["run"][0];
            assert_eq!((probe.as_str(), sample.outcome), ("web", Outcome::Error));
        }
    }

    #[tokio::test]
    async fn what_is_under_way_when_nothing_is_broken_any_more_is_asked_anew() {
        let mut questions = Questions::default();
        let hangs = Fake { hangs: Some("web".into()), ..Fake::default() };
        let mut wanted = [question("run", "web", Some("jason"), 60_000)];
        questions.ask(wanted.to_vec(), &hangs, &Arc::new(Notify::new()));
        while hangs.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        wanted[0].phase = RunPhase::Recovering;
        wanted[0].every = Duration::from_millis(1);
        let fake = Fake::default();
        assert_eq!(look(&mut questions, &wanted, &fake, 1).await, ["web"]);
        // Its session stays.
        assert!(hangs.forgotten.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_not_wanted_any_more_is_dropped_with_its_session() {
        let mut questions = Questions::default();
        let fake = Fake { hangs: Some("slow".into()), ..Fake::default() };
        let wanted = [question("run", "slow", None, 1)];
        questions.ask(wanted.to_vec(), &fake, &Arc::new(Notify::new()));
        questions.ask(Vec::new(), &fake, &Arc::new(Notify::new()));
        assert_eq!(*fake.forgotten.lock().unwrap(), ["run"]);
        let aborted = questions.asking.join_next().await.unwrap();
        assert!(aborted.unwrap_err().is_cancelled());
    }
}
