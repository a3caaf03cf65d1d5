//! Asks the questions of probes again and again, beside the loop that decides: however long an answer takes, it holds up
//! nothing but the questions behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chaos_probe::{Asker, Sample};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
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

/// Probes that are asked one after the other: those of one session of a run, or one alone.
type LaneKey = (String, Lane);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Session(String),
    Probe(String),
}

/// What is being asked, and when what is asked next.
#[derive(Default)]
pub struct Questions {
    lanes: BTreeMap<LaneKey, OfLane>,
    asking: JoinSet<(LaneKey, String, Sample)>,
}

#[derive(Default)]
struct OfLane {
    /// In the order of the experiment.
    questions: Vec<Question>,
    /// When each probe is to be asked next; one that is missing was never asked.
    due: BTreeMap<String, Instant>,
    /// While one of them is asked.
    asked: Option<AbortHandle>,
}

impl Questions {
    /// The answers that came since the last time.
    pub fn answers(&mut self) -> Samples {
        let mut samples = Samples::new();
        while let Some(answered) = self.asking.try_join_next() {
            // One that was aborted is not wanted any more.
            let Ok((key, probe, sample)) = answered else { continue };
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.asked = None;
                samples.entry(key.0).or_default().push((probe, sample));
            }
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
        due.sort_by(|(one, ..), (two, ..)| one.cmp(two));
        let share = self.share();
        for (at, key, question) in due {
            if self.asking.len() >= AT_ONCE {
                break;
            }
            if self.of_run(&key.0) >= share {
                continue;
            }
            let (asker, changed) = (asker.clone(), changed.clone());
            let probe = question.probing.probe.name.clone();
            let next = at.max(now) + question.every;
            let answer = {
                let (key, probe) = (key.clone(), probe.clone());
                async move {
                    sleep_until(at).await;
                    let sample = asker.ask(&question).await;
                    changed.notify_one();
                    (key, probe, sample)
                }
            };
            let handle = self.asking.spawn(answer);
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
            let probe = &question.probing.probe;
            let session = probe.http.as_ref().and_then(|http| http.session.clone());
            let lane = session.map_or_else(|| Lane::Probe(probe.name.clone()), Lane::Session);
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
            self.lanes.entry(key).or_default().questions = questions;
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
    /// What is asked next, and when: what was never asked, in the order of the experiment, then what is due first.
    fn next(&self, now: Instant) -> Option<(Instant, &Question)> {
        let due = |question: &&Question| {
            let at = self.due.get(&question.probing.probe.name).copied();
            // One that is asked more often than before does not wait as long as it had to then.
            at.map(|at| at.min(now + question.every))
        };
        let next = self.questions.iter().min_by_key(due)?;
        Some((due(&next).map_or(now, |at| at.max(now)), next))
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
            if self.hangs.as_ref().is_some_and(|hangs| probe.starts_with(hangs.as_str())) {
                return std::future::pending().await;
            }
            tokio::time::sleep(self.takes).await;
            *self.open.lock().unwrap().entry(run).or_default() -= 1;
            let at = jiff::Timestamp::now();
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
        let probing = Probing { probe, every, recover: every };
        Question { asking, probing, every, baseline: None }
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
