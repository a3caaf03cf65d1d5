//! Reads the annotations of pods: each text once, and long ones on a thread of their own, one after
//! the other, so that no text delays what is done about another pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
};

use chaos_api::Epoch;
use chaos_fault::{Fault, PodRef};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{names::FAULTS, status::digest};

/// Longer texts are refused unread, in bytes. A node has many pods, and each of them could bring a
/// text that takes long to read.
const LONGEST: usize = 64 * 1024;

/// Texts up to this are read at once, in bytes: that takes less than handing them over.
const AT_ONCE: usize = 4 * 1024;

/// What an annotation says.
#[derive(Debug)]
pub(super) struct Text {
    /// [`digest`] of the annotation.
    pub digest: String,
    /// Every fault, in the order of the text; or each mistake.
    pub faults: Result<Vec<Fault>, Vec<String>>,
    /// The pods that the faults name.
    pub pods: BTreeSet<PodRef>,
}

/// Texts with one digest are the same.
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Text {}

impl Text {
    /// Reads a text, unless it is too long.
    pub fn read(text: &str) -> Self {
        if text.len() > LONGEST {
            return Self::refused(
                text,
                format!(
                    "annotation {FAULTS} is {} bytes long and was not read; up to {LONGEST} are: name \
                 networks instead of single addresses, or use fewer faults",
                    text.len()
                ),
            );
        }
        let faults: Result<Vec<Fault>, Vec<String>> = match chaos_fault::read(text) {
            Ok(sentences) => Ok(sentences.into_iter().map(|sentence| sentence.fault).collect()),
            Err(errors) => Err(errors.lines()),
        };
        let named = faults.iter().flatten().flat_map(Fault::pods);
        let pods = named.map(|(pod, _)| pod.clone()).collect();
        Self { digest: digest(text), faults, pods }
    }

    fn refused(text: &str, why: String) -> Self {
        Self { digest: digest(text), faults: Err(vec![why]), pods: BTreeSet::new() }
    }
}

/// What is known of a pod's annotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It has none.
    None,
    /// It is being read, or waits for that.
    Soon,
    Read(Arc<Text>),
}

/// The texts of all pods of the node.
pub(super) struct Texts {
    /// [`Text::read`].
    read: fn(&str) -> Text,
    /// By the pod's UID.
    known: BTreeMap<String, Entry>,
    under_way: Option<UnderWay>,
    /// Counts the texts that had to wait.
    turn: u64,
    /// The epoch of what is found new.
    pub epoch: Epoch,
}

struct Entry {
    /// Whose annotation this is about: the object that the watch keeps, too.
    pod: Arc<Pod>,
    /// When it was found.
    asked: Epoch,
    state: State,
}

enum State {
    /// In which turn it will be read.
    Waiting(u64),
    Read(Arc<Text>),
}

struct UnderWay {
    uid: String,
    pod: Arc<Pod>,
    task: JoinHandle<Text>,
}

impl Texts {
    pub fn new(read: fn(&str) -> Text) -> Self {
        Self { read, known: BTreeMap::new(), under_way: None, turn: 0, epoch: Epoch::default() }
    }

    /// What a pod's annotation says. One that is long and new is read later.
    pub fn look(&mut self, pod: &Arc<Pod>) -> Look {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let Some(text) = text_of(pod) else {
            self.known.remove(uid);
            return Look::None;
        };
        if let Some(entry) = self.known.get_mut(uid)
            && is_same_text(&entry.pod, pod)
        {
            entry.pod = pod.clone();
            return entry.state.look();
        }
        let is_short = text.len() <= AT_ONCE || text.len() > LONGEST;
        let state = if is_short {
            State::Read(Arc::new((self.read)(text)))
        } else {
            self.turn += 1;
            State::Waiting(self.turn)
        };
        let look = state.look();
        let entry = Entry { pod: pod.clone(), asked: self.epoch, state };
        self.known.insert(uid.to_owned(), entry);
        look
    }

    /// The epoch in which a pod's annotation was found, which it was before it could be read.
    pub fn asked(&self, pod: &Pod) -> Epoch {
        let entry = pod.metadata.uid.as_deref().and_then(|uid| self.known.get(uid));
        entry.map_or(self.epoch, |entry| entry.asked)
    }

    /// Forgets the texts of all other pods.
    pub fn retain(&mut self, pods: &[Arc<Pod>]) {
        let there: BTreeSet<&str> =
            pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        self.known.retain(|uid, _| there.contains(uid.as_str()));
    }

    /// Reads the text that has waited longest; waits for one if none does. May be cancelled and
    /// called again.
    pub async fn read_next(&mut self) {
        if self.under_way.is_none() {
            self.under_way = next(&self.known, self.read);
        }
        let Some(UnderWay { uid, pod, task }) = &mut self.under_way else {
            return pending().await;
        };
        let read = task.await;
        if let Some(entry) = self.known.get_mut(uid.as_str())
            && is_same_text(&entry.pod, pod)
        {
            let text = read.unwrap_or_else(|error| {
                tracing::error!(%uid, %error, "reading a text failed");
                let text = text_of(pod).unwrap_or_default();
                Text::refused(text, format!("annotation {FAULTS} cannot be read: {error}"))
            });
            entry.state = State::Read(Arc::new(text));
        }
        self.under_way = None;
    }
}

impl State {
    fn look(&self) -> Look {
        match self {
            Self::Waiting(_) => Look::Soon,
            Self::Read(text) => Look::Read(text.clone()),
        }
    }
}

/// Starts with the text that has waited longest.
fn next(known: &BTreeMap<String, Entry>, read: fn(&str) -> Text) -> Option<UnderWay> {
    let waiting = known.iter().filter_map(|(uid, entry)| match entry.state {
        State::Waiting(turn) => Some((turn, uid, &entry.pod)),
        State::Read(_) => None,
    });
    let (_, uid, pod) = waiting.min_by_key(|(turn, ..)| *turn)?;
    let object = pod.clone();
    let task = spawn_blocking(move || read(text_of(&object).unwrap_or_default()));
    Some(UnderWay { uid: uid.clone(), pod: pod.clone(), task })
}

fn text_of(pod: &Pod) -> Option<&str> {
    pod.annotations().get(FAULTS).map(String::as_str)
}

fn is_same_text(one: &Arc<Pod>, other: &Arc<Pod>) -> bool {
    Arc::ptr_eq(one, other) || text_of(one) == text_of(other)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    fn pod(uid: &str, text: Option<&str>, version: &str) -> Arc<Pod> {
        let annotations = text.map(|text| json!({ FAULTS: text }));
        let metadata = json!({ "namespace": "shop", "name": uid, "uid": uid,
                               "resourceVersion": version, "annotations": annotations });
        Arc::new(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    }

    /// So many bytes of valid faults.
    fn long(bytes: usize) -> String {
        let mut text = "drop to pod payments/db\n".to_owned();
        text.push_str(&"#".repeat(bytes - text.len()));
        text
    }

    fn digest_of(look: &Look) -> Option<&str> {
        match look {
            Look::Read(text) => Some(&text.digest),
            Look::None | Look::Soon => None,
        }
    }

    #[tokio::test]
    async fn each_text_is_read_once_however_often_pods_change() {
        static READS: AtomicUsize = AtomicUsize::new(0);
        let mut texts = Texts::new(|text| {
            READS.fetch_add(1, Ordering::Relaxed);
            Text::read(text)
        });
        let long = long(20_000);
        let look_at_all = |texts: &mut Texts, version: usize| {
            let version = version.to_string();
            let mut pending = 0;
            for number in 0..20 {
                let text = if number % 2 == 0 { "drop to pod payments/db" } else { &long };
                let look = texts.look(&pod(&format!("uid-{number}"), Some(text), &version));
                pending += usize::from(look == Look::Soon);
            }
            pending
        };
        assert_eq!(look_at_all(&mut texts, 0), 10);
        for _ in 0..10 {
            texts.read_next().await;
        }
        for version in 1..100 {
            assert_eq!(look_at_all(&mut texts, version), 0);
        }
        assert_eq!(READS.load(Ordering::Relaxed), 20);
        // Another text, and one that comes back, are read again.
        for (text, reads) in [("drop 1%", 21), ("drop 2%", 22), ("drop 1%", 23), ("drop 1%", 23)] {
            let look = texts.look(&pod("uid-0", Some(text), "1"));
            assert_eq!(digest_of(&look), Some(digest(text).as_str()));
            assert_eq!(READS.load(Ordering::Relaxed), reads);
        }
    }

    #[tokio::test]
    async fn only_the_last_of_several_long_texts_of_a_pod_is_read_in_the_end() {
        let mut texts = Texts::new(Text::read);
        assert_eq!(texts.look(&pod("a", Some(&long(10_000)), "1")), Look::Soon);
        let begun = tokio::time::timeout(std::time::Duration::ZERO, texts.read_next()).await;
        assert!(texts.under_way.is_some() || begun.is_ok());
        let last = long(30_000);
        for text in [long(20_000), last.clone()] {
            assert_eq!(texts.look(&pod("a", Some(&text), "2")), Look::Soon);
        }
        let last = pod("a", Some(&last), "3");
        while texts.look(&last) == Look::Soon {
            texts.read_next().await;
        }
        let look = texts.look(&last);
        assert_eq!(digest_of(&look), Some(digest(&long(30_000)).as_str()));
        let Look::Read(text) = look else { unreachable!() };
        assert_eq!(text.pods.len(), 1);
    }

    #[tokio::test]
    async fn long_texts_are_read_in_the_order_in_which_they_came() {
        let mut texts = Texts::new(Text::read);
        let pods = ["c", "a", "b"].map(|uid| pod(uid, Some(&long(10_000)), "1"));
        for pod in &pods {
            assert_eq!(texts.look(pod), Look::Soon);
        }
        for number in 1..=3 {
            texts.read_next().await;
            let read = pods.iter().map(|pod| usize::from(texts.look(pod) != Look::Soon));
            assert_eq!(
                read.collect::<Vec<_>>(),
                (0..3).map(|at| usize::from(at < number)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_unread_and_says_so() {
        let mut texts = Texts::new(Text::read);
        let text = "drip\n".repeat(50_000);
        let Look::Read(read) = texts.look(&pod("a", Some(&text), "1")) else {
            panic!("it need not wait");
        };
        let refusal = read.faults.as_ref().unwrap_err();
        assert_eq!(refusal.len(), 1);
        assert!(refusal[0].contains("is 250000 bytes long and was not read"), "{refusal:?}");
        assert!(Text::read(&long(LONGEST)).faults.is_ok());
        assert!(Text::read(&long(LONGEST + 1)).faults.is_err());
    }

    #[test]
    fn nothing_is_kept_of_pods_that_are_gone_or_ask_for_nothing_any_more() {
        let mut texts = Texts::new(Text::read);
        let pods = ["a", "b", "c"].map(|uid| pod(uid, Some("drop"), "1"));
        for pod in &pods {
            texts.look(pod);
        }
        texts.retain(&pods[1..]);
        assert_eq!(texts.look(&pod("b", None, "2")), Look::None);
        assert_eq!(texts.known.keys().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn every_mistake_is_told_and_names_no_pod() {
        let text = Text::read("drip to pod payments/db\ndrop 200%");
        assert_eq!(text.faults.unwrap_err().len(), 2);
        assert!(text.pods.is_empty());
    }
}
