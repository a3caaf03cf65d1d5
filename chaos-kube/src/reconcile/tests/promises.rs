//! Tells what must be armed for the pods of a cluster, from what has happened to them: the agent's promises,
//! without its code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};

use chaos_api::{FaultReport, TargetReport};
use chaos_fault::Fault;

use super::{
    super::super::status::digest,
    Step, TEXTS,
    cluster::{Cluster, PODS, says_armed},
};

/// What has been promised to one pod.
#[derive(Default)]
struct Promised {
    /// Another pod of the same name is another one.
    uid: String,
    /// As the agent saw it last.
    text: Option<&'static str>,
    /// When each fault of the text began, by the boot clock (ns): for good.
    began: BTreeMap<String, u64>,
    /// Nothing of the text is armed again, as it has ended: by time, with the pod, or by hand.
    is_over: bool,
    /// Somebody has disarmed it, and that is not written on the pod yet.
    is_unwritten: bool,
    /// Faults that were over when the text came that has them now: they may be armed or not.
    is_open: BTreeSet<String>,
}

/// What has been promised to all.
#[derive(Default)]
pub struct Promises {
    pods: BTreeMap<usize, Promised>,
    pub met: Met,
}

/// How often pods were found in such a state.
#[derive(Debug, Default)]
pub struct Met {
    pub armed: usize,
    /// Armed with a clock that began before this look.
    pub resumed: usize,
    pub refused: usize,
    pub over: usize,
    /// Not armed any more, as the server has not been heard.
    pub unheard: usize,
}

impl Met {
    pub fn add(&mut self, other: &Self) {
        self.armed += other.armed;
        self.resumed += other.resumed;
        self.refused += other.refused;
        self.over += other.over;
        self.unheard += other.unheard;
    }
}

/// The faults of each text, by their canonical sentences.
static ASKED: LazyLock<BTreeMap<&str, BTreeMap<String, Fault>>> = LazyLock::new(|| {
    let read = |text| -> BTreeMap<String, Fault> {
        let sentences = chaos_fault::parse(text).expect("each text is well formed");
        sentences.into_iter().map(|sentence| (sentence.fault.to_string(), sentence.fault)).collect()
    };
    TEXTS.into_iter().map(|text| (text, read(text))).collect()
});

/// `None` where it is no fault.
fn faults(text: &str) -> Option<&'static BTreeMap<String, Fault>> {
    ASKED.get(text)
}

fn ends(fault: &Fault, began: u64) -> u64 {
    let span = fault.after.unwrap_or_default() + fault.duration.expect("each text says how long");
    began + span.as_nanos() as u64
}

/// What is armed of a pod, target by target.
fn of_pod(armed: &[TargetReport], pod: usize) -> impl Iterator<Item = &FaultReport> {
    let (namespace, name) = PODS[pod];
    let id = format!("pod:{namespace}/{name}");
    let is_its = move |report: &&TargetReport| {
        report.id.strip_prefix(&id).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    armed.iter().filter(is_its).flat_map(|report| &report.faults)
}

impl Promises {
    /// Somebody has disarmed a pod, if it was armed.
    pub fn disarmed(&mut self, cluster: &Cluster, pod: usize, was_armed: bool) {
        if was_armed && let Some(known) = self.pods.get_mut(&pod) {
            known.is_over = true;
            known.is_unwritten = !cluster.is_heard;
        }
    }

    /// The next agent knows what is written on the pods, and no more.
    pub fn restarted(&mut self) {
        for known in self.pods.values_mut().filter(|known| known.is_unwritten) {
            (known.is_over, known.is_unwritten) = (false, false);
        }
    }

    /// Compares what is armed and what stands on the pods with what is promised.
    pub async fn check(
        &mut self,
        cluster: &Cluster,
        number: usize,
        step: &Step,
    ) -> Result<(), String> {
        let armed = cluster.armed().await;
        for pod in 0..PODS.len() {
            self.see(cluster, pod);
            self.check_pod(cluster, pod, &armed).map_err(|broken| {
                let now = cluster.now() / 1_000_000_000;
                format!(
                    "after step {number}, {step:?}, at {now} s, pod {pod}: {broken}\n{armed:#?}"
                )
            })?;
        }
        Ok(())
    }

    /// Takes in what the agent sees of a pod.
    fn see(&mut self, cluster: &Cluster, pod: usize) {
        if !cluster.is_heard {
            return;
        }
        let Some(there) = cluster.pods.get(&pod) else {
            self.pods.remove(&pod);
            return;
        };
        let known = self.pods.entry(pod).or_default();
        known.is_unwritten = false;
        if known.uid != there.uid {
            *known = Promised { uid: there.uid.clone(), ..Promised::default() };
        }
        if known.text != there.text {
            let asked = there.text.and_then(faults);
            let is_kept =
                |sentence: &String| asked.is_some_and(|asked| asked.contains_key(sentence));
            known.is_open = match known.is_over {
                true => known.began.keys().filter(|sentence| is_kept(sentence)).cloned().collect(),
                false => {
                    known.is_open.iter().filter(|sentence| is_kept(sentence)).cloned().collect()
                }
            };
            known.began.retain(|sentence, _| is_kept(sentence));
            known.is_over = false;
            known.text = there.text;
        }
        if known.text.is_some() && there.is_over {
            known.is_over = true;
        }
        // A text that is refused forgets the clocks of the one before.
        if !is_allowed(cluster, pod, there.text) && cluster_forgets(cluster, pod) {
            known.began.clear();
            known.is_open.clear();
        }
    }

    fn check_pod(
        &mut self,
        cluster: &Cluster,
        pod: usize,
        armed: &[TargetReport],
    ) -> Result<(), String> {
        let now = cluster.now();
        let found: BTreeMap<&str, &FaultReport> =
            of_pod(armed, pod).map(|report| (report.fault.as_str(), report)).collect();
        let Some(known) = self.pods.get_mut(&pod) else {
            return nothing(&found, "there is no such pod, as far as the agent has heard");
        };
        if !cluster.is_in_grace() {
            self.met.unheard += 1;
            return nothing(&found, "the API server has not been heard for longer than the grace");
        }
        let Some(text) = known.text else { return nothing(&found, "it asks for nothing") };
        let Some(asked) = faults(text) else { return nothing(&found, "its text is no fault") };
        if cluster.is_heard && !is_allowed(cluster, pod, known.text) {
            self.met.refused += 1;
            return nothing(&found, "its namespace or the policy does not allow it");
        }
        if known.is_over {
            self.met.over += 1;
            // What has ended by itself does nothing, and is taken out at the next look.
            let acting = found.into_iter().filter(|(_, report)| report.ends > now).collect();
            return nothing(&acting, "its faults are over");
        }
        for (sentence, report) in &found {
            let Some(fault) = asked.get(*sentence) else {
                return Err(format!("`{sentence}` is armed, which nobody asks for"));
            };
            let began = *known.began.entry((*sentence).to_owned()).or_insert(now);
            self.met.armed += 1;
            self.met.resumed += usize::from(began < now);
            if (report.began, report.ends) != (began, ends(fault, began)) {
                return Err(format!(
                    "`{sentence}` began at {began}, and the kernel has another clock"
                ));
            }
        }
        let mut is_left = false;
        for (sentence, fault) in asked {
            let ends = known.began.get(sentence).map(|began| ends(fault, *began));
            if ends.is_some_and(|ends| ends <= now) || known.is_open.contains(sentence) {
                continue;
            }
            is_left = true;
            // Without the server nothing new is armed for sure, nor what the agent before had.
            if !found.contains_key(sentence.as_str()) && cluster.is_heard {
                return Err(format!("`{sentence}` is not armed, which should be"));
            }
        }
        if !is_left && known.is_open.is_empty() {
            known.is_over = true;
        }
        if cluster.is_heard {
            let status = cluster.status(pod);
            let observed = status.as_ref().and_then(|status| status.observed.clone());
            if observed.as_deref() != Some(digest(text).as_str()) {
                return Err(format!("the status is about another text: {status:?}"));
            }
            if says_armed(status.as_ref()) == found.is_empty() {
                return Err(format!("the status is not what is armed: {status:?}"));
            }
        }
        Ok(())
    }
}

/// Whether such a text may be armed.
fn is_allowed(cluster: &Cluster, pod: usize, text: Option<&str>) -> bool {
    let is_short =
        |fault: &Fault| fault.duration.is_none_or(|duration: Duration| duration <= cluster.longest);
    let asked = text.and_then(faults);
    cluster.is_enabled(pod) && asked.is_some_and(|faults| faults.values().all(is_short))
}

/// Whether the status says nothing of the text's faults any more.
fn cluster_forgets(cluster: &Cluster, pod: usize) -> bool {
    cluster.status(pod).is_none_or(|status| status.faults.is_empty())
}

fn nothing(found: &BTreeMap<&str, &FaultReport>, why: &str) -> Result<(), String> {
    match found.keys().next() {
        None => Ok(()),
        Some(sentence) => Err(format!("`{sentence}` is armed, and {why}")),
    }
}
