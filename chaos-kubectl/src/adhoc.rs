//! Makes an experiment of a target, a sentence and probes, as they are typed. Pure.

mod probe;

use std::time::Duration;

use chaos_api::kinds::{During, ExperimentSpec, Labels};
use chaos_controller::mistakes;
use chaos_fault::{Fault, print_duration};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::cluster::Resource;

/// What the text is called in errors.
const NAME: &str = "SENTENCES";

/// The name of the one target, where pods are selected by labels.
const TARGET: &str = "pods";

/// The name of the one step.
const STEP: &str = "fault";

/// The longest beginning of a name that the server completes.
const LONGEST_PREFIX: usize = 50;

/// Why there is no experiment.
#[derive(Debug, Error)]
pub enum AdhocError {
    #[error(
        "`{0}` is not a target; write deploy/NAME, statefulset/NAME, daemonset/NAME, replicaset/NAME or pod/NAME, or `-l LABELS`"
    )]
    Target(String),
    #[error("{0} is missing; write such as: {EXAMPLE}")]
    Missing(&'static str),
    #[error("with `-l`, the sentence alone is written; `{0}` is one word too many")]
    TwoTargets(String),
    #[error("-l {0}")]
    Labels(String),
    #[error("the sentence cannot be read\n{0}")]
    Sentence(String),
    #[error("how long? Write `{sentence} for 1m`, or `--for 1m`; it is over by itself then")]
    NoEnd { sentence: String },
    #[error(
        "all sentences last equally long, and these last {first} and {second}; make two Runs, or a file with two steps"
    )]
    TwoEnds { first: String, second: String },
    #[error("the sentence lasts {sentence}, and `--for` says {option}; leave one out")]
    ForTwice { sentence: String, option: String },
    #[error(
        "`--pick {0}`: write a number from 1 on, a share such as `50%`, a range such as `10%-30%`, or `all`"
    )]
    Pick(String),
    #[error("{0}")]
    Probe(#[from] probe::ProbeError),
    #[error("{0}")]
    Controller(String),
    #[error("{what} selects no pods by labels that a target can have: {why}")]
    Selector { what: String, why: String },
}

const EXAMPLE: &str = "kubectl chaos run deploy/web 'drop 20% egress tcp for 1m'";

/// Which pods are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pods {
    /// Those of a workload, by its own selector.
    Of {
        resource: Resource,
        name: String,
    },
    One(String),
    By(Value),
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adhoc {
    pub pods: Pods,
    sentences: Vec<Fault>,
    lasting: Duration,
    pick: Option<Value>,
    containers: Vec<String>,
    probes: Vec<Value>,
    hypothesis: String,
}

/// The options beside the words.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    pub labels: Option<&'a str>,
    pub pick: Option<&'a str>,
    pub lasting: Option<Duration>,
    pub containers: &'a [String],
    pub probes: &'a [String],
    pub during: During,
    pub hypothesis: Option<&'a str>,
    /// Where hosts of probes are that are Services.
    pub namespace: &'a str,
}

impl Adhoc {
    /// Reads what was typed. Nothing is asked of a cluster.
    pub fn read(words: &[String], options: &Options<'_>) -> Result<Self, AdhocError> {
        let (pods, text) = match (options.labels, words) {
            (Some(labels), [text]) => {
                (Pods::By(crate::labels::read(labels).map_err(AdhocError::Labels)?), text)
            }
            (Some(_), [_, more, ..]) => return Err(AdhocError::TwoTargets(more.clone())),
            (Some(_), []) => return Err(AdhocError::Missing("the sentence")),
            (None, [target, text, ..]) => (Pods::read(target)?, text),
            (None, [one]) if one.contains('/') && !one.contains(char::is_whitespace) => {
                Pods::read(one)?;
                return Err(AdhocError::Missing("the sentence"));
            }
            (None, [_]) => return Err(AdhocError::Missing("the target")),
            (None, []) => return Err(AdhocError::Missing("the target")),
        };
        let (sentences, lasting) = sentences(text, options.lasting)?;
        let pick = options.pick.map(pick).transpose()?;
        Ok(Self {
            pods,
            sentences,
            lasting,
            pick,
            containers: options.containers.to_vec(),
            probes: probe::read(options.probes, options.during, options.namespace)?,
            hypothesis: options.hypothesis.unwrap_or_default().to_owned(),
        })
    }

    /// With which words the name of its Run begins.
    pub fn prefix(&self) -> String {
        let verb = self.sentences.first().map(|fault| fault.verb.words().replace(' ', "-"));
        let verb = verb.unwrap_or_default();
        let mut prefix = match &self.pods {
            Pods::Of { name, .. } | Pods::One(name) => format!("{name}-{verb}"),
            Pods::By(_) => verb,
        };
        prefix.truncate(LONGEST_PREFIX);
        format!("{}-", prefix.replace('.', "-").trim_end_matches('-'))
    }

    /// The experiment, for pods with this selector. The controller's own checks are made, so nothing is written that it
    /// would refuse unseen.
    pub fn spec(&self, selector: &Value) -> Result<ExperimentSpec, AdhocError> {
        let selected = serde_json::from_value::<Labels>(selector.clone());
        selected
            .map_err(|error| AdhocError::Selector { what: self.what(), why: error.to_string() })?;
        let name = self.target();
        let mut target = Map::from_iter([("pods".to_owned(), selector.clone())]);
        if let Pods::One(pod) = &self.pods {
            target.insert("where".to_owned(), json!(format!("pod.metadata.name == '{pod}'")));
        }
        if let Some(pick) = &self.pick {
            target.insert("pick".to_owned(), pick.clone());
        }
        if !self.containers.is_empty() {
            target.insert("containers".to_owned(), json!(self.containers));
        }
        let sentences: Vec<String> = self.sentences.iter().map(ToString::to_string).collect();
        // Whoever types a name means a Service.
        let names = self.sentences.iter().flat_map(Fault::names);
        let peers: Map<String, Value> =
            names.map(|name| (name.to_owned(), json!({ "service": name }))).collect();
        let spec = json!({
            "targets": { &name: target },
            "peers": peers,
            "hypothesis": self.hypothesis,
            "probes": self.probes,
            "steps": [{
                "name": STEP,
                "fault": { "target": name, "do": sentences.join("\n"), "for": print_duration(self.lasting) },
            }],
        });
        let spec: ExperimentSpec = serde_json::from_value(spec)
            .map_err(|error| AdhocError::Selector { what: self.what(), why: error.to_string() })?;
        match mistakes(&spec, &Default::default()).into_iter().next() {
            Some(mistake) => Err(AdhocError::Controller(mistake.error.to_string())),
            None => Ok(spec),
        }
    }

    fn target(&self) -> String {
        match &self.pods {
            Pods::Of { name, .. } | Pods::One(name) => name.chars().take(63).collect::<String>(),
            Pods::By(_) => TARGET.to_owned(),
        }
    }

    fn what(&self) -> String {
        match &self.pods {
            Pods::Of { resource, name } => format!("{}/{name}", resource.plural()),
            Pods::One(name) => format!("pod/{name}"),
            Pods::By(_) => "-l".to_owned(),
        }
    }
}

impl Pods {
    fn read(target: &str) -> Result<Self, AdhocError> {
        let unknown = || AdhocError::Target(target.to_owned());
        let (kind, name) = target.split_once('/').ok_or_else(unknown)?;
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(unknown());
        }
        let of = |resource| Ok(Self::Of { resource, name: name.to_owned() });
        match kind.to_ascii_lowercase().trim_end_matches(".apps") {
            "deploy" | "deployment" | "deployments" => of(Resource::Deployments),
            "sts" | "statefulset" | "statefulsets" => of(Resource::StatefulSets),
            "ds" | "daemonset" | "daemonsets" => of(Resource::DaemonSets),
            "rs" | "replicaset" | "replicasets" => of(Resource::ReplicaSets),
            "po" | "pod" | "pods" => Ok(Self::One(name.to_owned())),
            _ => Err(unknown()),
        }
    }
}

/// The sentences without their `for`, and how long they last.
fn sentences(text: &str, option: Option<Duration>) -> Result<(Vec<Fault>, Duration), AdhocError> {
    let read = chaos_fault::parse(text)
        .map_err(|errors| AdhocError::Sentence(errors.render(text, NAME, false)))?;
    let faults: Vec<Fault> = read.into_iter().map(|sentence| sentence.fault).collect();
    let mut lasting = None;
    for duration in faults.iter().filter_map(|fault| fault.duration) {
        match lasting {
            Some(first) if first != duration => {
                let (first, second) = (print_duration(first), print_duration(duration));
                return Err(AdhocError::TwoEnds { first, second });
            }
            _ => lasting = Some(duration),
        }
    }
    let lasting = match (lasting, option) {
        (Some(sentence), Some(option)) if sentence != option => {
            let (sentence, option) = (print_duration(sentence), print_duration(option));
            return Err(AdhocError::ForTwice { sentence, option });
        }
        (Some(lasting), _) | (None, Some(lasting)) => lasting,
        (None, None) => {
            let first = faults.first().ok_or(AdhocError::Missing("the sentence"))?;
            return Err(AdhocError::NoEnd { sentence: first.to_string() });
        }
    };
    let without = faults.into_iter().map(|fault| Fault { duration: None, ..fault });
    Ok((without.collect(), lasting))
}

fn pick(text: &str) -> Result<Value, AdhocError> {
    if let Ok(number) = text.parse::<i32>()
        && number > 0
    {
        return Ok(json!(number));
    }
    let is_share = |part: &str| {
        let percent = part.strip_suffix('%').and_then(|percent| percent.parse::<u32>().ok());
        percent.is_some_and(|percent| (1..=100).contains(&percent))
    };
    // A share, or a range of shares; the definitions and the controller look closer.
    if text == "all" || text.splitn(2, '-').all(is_share) {
        return Ok(json!(text));
    }
    Err(AdhocError::Pick(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(text: &str) -> Duration {
        chaos_fault::parse_duration(text).unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_target_and_a_sentence_are_an_experiment() {
        let typed = words(&["deploy/web", "drop 20% egress tcp for 1m"]);
        let containers = words(&["main"]);
        let options = Options { pick: Some("50%"), containers: &containers, ..Options::default() };
        let adhoc = Adhoc::read(&typed, &options).unwrap();
        assert_eq!(adhoc.pods, Pods::Of { resource: Resource::Deployments, name: "web".into() });
        assert_eq!(adhoc.prefix(), "web-drop-");
        let spec = adhoc.spec(&json!({ "matchLabels": { "app": "web" } })).unwrap();
        assert_eq!(
            serde_json::to_value(&spec).unwrap()["steps"][0]["fault"],
            json!({ "target": "web", "do": "drop 20% egress tcp", "for": "1m" })
        );
        let range = Options { pick: Some("10%-30%"), ..options.clone() };
        let adhoc = words(&["deploy/web", "drop egress to @db, @cache for 1m"]);
        let spec_of_names = Adhoc::read(&adhoc, &range).unwrap().spec(&json!({})).unwrap();
        let services =
            spec_of_names.peers.iter().map(|(name, peer)| (name.as_str(), peer.service.as_deref()));
        let expected = [("cache", Some("cache")), ("db", Some("db"))];
        assert_eq!(services.collect::<Vec<_>>(), expected);
        let target = &serde_json::to_value(&spec).unwrap()["targets"]["web"];
        assert_eq!((&target["pick"], &target["containers"]), (&json!("50%"), &json!(["main"])));
    }

    #[test]
    fn one_pod_is_named_and_labels_are_read() {
        let options = Options { lasting: Some(lasting("5m")), ..Options::default() };
        let adhoc = Adhoc::read(&words(&["pod/web-0", "kill accept"]), &options).unwrap();
        let spec = adhoc.spec(&json!({})).unwrap();
        assert_eq!(spec.targets["web-0"].r#where.as_deref(), Some("pod.metadata.name == 'web-0'"));
        let options = Options { labels: Some("app=web"), ..options };
        let adhoc =
            Adhoc::read(&words(&["fail dns with REFUSED for *; drop 1%"]), &options).unwrap();
        assert_eq!(adhoc.pods, Pods::By(json!({ "matchLabels": { "app": "web" } })));
        assert_eq!(adhoc.prefix(), "fail-dns-");
    }

    #[test]
    fn probes_and_what_is_believed_belong_to_it() {
        let typed = words(&["deploy/cartservice", "kill container for 2m"]);
        let probes = words(&["http://frontend/cart expect status < 500"]);
        let options = Options {
            probes: &probes,
            during: During::Record,
            hypothesis: Some("the cart stays"),
            namespace: "shop",
            ..Options::default()
        };
        let spec = Adhoc::read(&typed, &options).unwrap().spec(&json!({})).unwrap();
        assert_eq!((spec.hypothesis.as_str(), spec.probes.len()), ("the cart stays", 1));
        let http = spec.probes[0].http.as_ref().unwrap();
        assert_eq!(http.url, "http://frontend.shop/cart");
        assert_eq!(spec.probes[0].during, During::Record);
        let wrong = words(&["frontend"]);
        let options = Options { probes: &wrong, ..options };
        let error = Adhoc::read(&typed, &options).unwrap_err().to_string();
        assert!(error.contains("`frontend` is no question"), "{error}");
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        let minute = Some(lasting("1m"));
        for (typed, options, expected) in [
            (
                &["web", "drop for 1m"][..],
                Options::default(),
                "`web` is not a target; write deploy/NAME",
            ),
            (&["job/web", "drop for 1m"], Options::default(), "is not a target"),
            (&["deploy/web"], Options::default(), "the sentence is missing"),
            (&["drop for 1m"], Options::default(), "the target is missing"),
            (&["deploy/web", "drop"], Options::default(), "Write `drop for 1m`, or `--for 1m`"),
            (&["deploy/web", "dorp for 1m"], Options::default(), "did you mean `drop`?"),
            (
                &["deploy/web", "drop for 1m; corrupt for 2m"],
                Options::default(),
                "these last 1m and 2m",
            ),
            (
                &["deploy/web", "drop for 2m"],
                Options { lasting: minute, ..Options::default() },
                "leave one out",
            ),
            (
                &["deploy/web", "drop for 1m"],
                Options { pick: Some("0"), ..Options::default() },
                "`--pick 0`",
            ),
            (
                &["deploy/web", "drop for 1m"],
                Options { labels: Some("a=b"), ..Options::default() },
                "one word too many",
            ),
        ] {
            let error = Adhoc::read(&words(typed), &options).unwrap_err().to_string();
            assert!(error.contains(expected), "{typed:?}: {error}");
        }
        // What the controller writes itself is refused as it refuses it.
        let shadow = words(&["deploy/web", "shadow drop for 1m"]);
        let adhoc = Adhoc::read(&shadow, &Options::default()).unwrap();
        let error = adhoc.spec(&json!({})).unwrap_err().to_string();
        assert!(error.contains("mode: Shadow"), "{error}");
    }
}
