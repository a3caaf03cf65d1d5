//! Words what a step writes on a pod: a comment that names its run, and the sentences.

use std::time::Duration;

use chaos_fault::Fault;
use jiff::Timestamp;

/// What begins the first line of a text of the controller.
const HEAD: &str = "# Run ";

/// Whose text it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub run_uid: String,
    pub step: String,
}

/// What is the same in the texts of all pods of a step.
#[derive(Debug, Clone)]
pub struct Wording<'a> {
    pub namespace: &'a str,
    /// The namespace of the pods.
    pub pods_in: &'a str,
    pub run: &'a str,
    pub holder: Holder,
    /// For each container that is meant, or for the whole pod.
    pub faults: &'a [Fault],
    pub ends: Timestamp,
}

/// The first line of a text.
pub fn head(namespace: &str, run: &str, holder: &Holder) -> String {
    let Holder { run_uid, step } = holder;
    format!(
        "{HEAD}{namespace}/{run} ({run_uid}), step {step}, by chaos-controller; spec.halt of the Run ends it"
    )
}

/// Whose text it is, by its first line.
pub fn holder(text: &str) -> Option<Holder> {
    let line = text.lines().next()?.strip_prefix(HEAD)?;
    let (_, rest) = line.split_once(" (")?;
    let (run_uid, rest) = rest.split_once("), step ")?;
    let (step, _) = rest.split_once(',')?;
    Some(Holder { run_uid: run_uid.to_owned(), step: step.to_owned() })
}

impl Wording<'_> {
    /// The text for a pod that is armed at `now`: its faults last for the time that is left.
    pub fn at(&self, now: Timestamp) -> Option<String> {
        let left = self.ends.duration_since(now).as_secs();
        let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
        Some(self.lasting(Duration::from_secs(left)))
    }

    /// Whether a text is one of these, whenever it was written.
    pub fn is_ours(&self, text: &str) -> bool {
        let Ok(sentences) = chaos_fault::parse(text) else {
            return false;
        };
        let lasting = sentences.first().and_then(|sentence| sentence.fault.duration);
        lasting.is_some_and(|lasting| self.lasting(lasting) == text)
    }

    /// What a sentence is called: agents tell by it what they have armed for which step.
    pub fn name(&self) -> String {
        name(self.namespace, self.pods_in, self.run, &self.holder.step)
    }

    fn lasting(&self, lasting: Duration) -> String {
        let mut text = head(self.namespace, self.run, &self.holder);
        for fault in self.faults {
            let fault = Fault { duration: Some(lasting), ..fault.clone() };
            text.push('\n');
            text.push_str(&origin(fault, self.ends, self.name()).to_string());
        }
        text
    }
}

/// What sentences of a step are called on the pods of a namespace: the name of the run's namespace is in front where the
/// pods are in another one.
pub fn name(namespace: &str, pods_in: &str, run: &str, step: &str) -> String {
    if namespace == pods_in {
        return format!("{run}/{step}");
    }
    format!("{namespace}/{run}/{step}")
}

/// Says who asked for a fault, and until when.
fn origin(fault: Fault, ends: Timestamp, name: String) -> Fault {
    Fault { until: Some(ends), name: Some(name), guarded: true, ..fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_text_says_who_wrote_it_and_when_it_ends() {
        let faults = ["delay 200ms egress tcp to 10.96.0.12".parse().unwrap()];
        let holder = Holder { run_uid: "6d1c-2".into(), step: "slow".into() };
        let wording = Wording {
            namespace: "shop",
            pods_in: "shop",
            run: "slow-payments-7k2",
            holder: holder.clone(),
            faults: &faults,
            ends: at("2026-11-28T10:14:00Z"),
        };
        let text = wording.at(at("2026-11-28T10:09:08.2Z")).unwrap();
        assert_eq!(
            text,
            "# Run shop/slow-payments-7k2 (6d1c-2), step slow, by chaos-controller; spec.halt of the Run ends it\n\
             delay 200ms egress tcp to 10.96.0.12 for 4m51s until 2026-11-28T10:14:00Z as slow-payments-7k2/slow guarded"
        );
        assert_eq!(super::holder(&text), Some(holder));
        // Written earlier or later, it is the same step's.
        assert!(wording.is_ours(&text) && wording.is_ours(&text.replace("4m51s", "2m")));
        assert!(!wording.is_ours(&text.replace("200ms", "20s")));
        assert!(!wording.is_ours(&text.replace("step slow", "step fast")));
        assert!(!wording.is_ours("drop"));
        let abroad = Wording { pods_in: "bank", ..wording.clone() };
        assert_eq!(abroad.name(), "shop/slow-payments-7k2/slow");
        assert!(!abroad.is_ours(&text));
        for over in ["2026-11-28T10:13:59.5Z", "2026-11-28T11:00:00Z"] {
            assert_eq!(wording.at(at(over)), None);
        }
    }

    #[test]
    fn other_texts_have_no_holder() {
        for text in
            ["", "drop", "# Run", "# Run a/b", "# Run a/b (c)", "drop\n# Run a/b (c), step d, e"]
        {
            assert_eq!(holder(text), None, "{text}");
        }
    }
}
