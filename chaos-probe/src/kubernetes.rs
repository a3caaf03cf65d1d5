//! Asks the API server for objects, and whether they are as ready as they declare to be.

use std::collections::BTreeMap;

use chaos_api::kinds::KubernetesProbe;
use chaos_expression::Variables;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Outcome, Sample,
    account::{Account, PATIENCE, checked},
    asker::{Asker, Asking},
    connection::Patience,
    expectation::{Answer, Expectation},
    readiness::{is_going, unready},
    resource::Resource,
    room::Room,
    trouble::Trouble,
};

/// Objects of one list.
const MOST: usize = 500;

/// What there is of a kind.
pub struct Objects {
    kind: String,
    items: Vec<Value>,
    _room: Room,
}

/// Asks for objects; there is at least one.
pub async fn ask(
    asker: &Asker,
    asking: &Asking,
    probe: &KubernetesProbe,
) -> Result<Objects, Trouble> {
    if probe.kind == "Secret" {
        return Err(Trouble::Question("Secrets are not probed".to_owned()));
    }
    let account = Account::of(asker, asking)?;
    let patience = Patience::of(PATIENCE);
    let resource = match Resource::known(probe) {
        Some(resource) => resource,
        None => Resource::ask(&account, probe, patience).await?,
    };
    let path = resource.path(&asking.namespace);
    let (items, room) = match &probe.name {
        Some(name) => {
            let name = checked("name", name)?;
            let what = format!("{} {name}", probe.kind);
            let (object, room) = account.read(&format!("{path}/{name}"), &what, patience).await?;
            (vec![object], room)
        }
        None => {
            let path = format!("{path}?{}", query(&probe.labels));
            let (list, room) = account.read(&path, &resource.plural, patience).await?;
            (items(list, &resource.plural)?, room)
        }
    };
    if items.is_empty() {
        let labels = if probe.labels.is_empty() { "" } else { " with these labels" };
        return Err(Trouble::Question(format!(
            "nothing matches: there are no {}{labels}",
            resource.plural
        )));
    }
    Ok(Objects { kind: probe.kind.clone(), items, _room: room })
}

fn query(labels: &BTreeMap<String, String>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &MOST.to_string());
    if !labels.is_empty() {
        let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
        query.append_pair("labelSelector", &labels.collect::<Vec<_>>().join(","));
    }
    query.finish()
}

fn items(mut list: Value, plural: &str) -> Result<Vec<Value>, Trouble> {
    let is_cut = list["metadata"]["continue"].as_str().is_some_and(|more| !more.is_empty());
    if is_cut {
        let remedy = "name one, or select fewer by labels";
        return Err(Trouble::Question(format!("there are more than {MOST} {plural}; {remedy}")));
    }
    match list["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(Trouble::Question(format!("{plural}: the answer is no list"))),
    }
}

/// Judges what there is.
pub fn judged(
    objects: Objects,
    expectation: &Expectation,
    baseline: Option<f64>,
    at: Timestamp,
) -> Sample {
    let Objects { kind, items, _room } = objects;
    let count = items.len();
    let counted = match count {
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    };
    let value = Some(count as f64);
    if expectation.is_written() {
        let variables = Variables::default().json("items", &items.into());
        return expectation.judge(Answer { variables, value, seen: counted }, baseline, at);
    }
    let staying: Vec<&Value> = items.iter().filter(|item| !is_going(&kind, item)).collect();
    if staying.is_empty() {
        return Sample::new(at, Outcome::Fail, value, &format!("{counted}, all of them going"));
    }
    let mut unready = staying.into_iter().filter_map(|item| {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        unready(&kind, item).map(|why| format!("{name}: {why}"))
    });
    match unready.next() {
        None => Sample::new(at, Outcome::Pass, value, &format!("{counted}, as ready as declared")),
        Some(first) => {
            let seen = match unready.count() {
                0 => first,
                more => format!("{first}, and {more} more"),
            };
            Sample::new(at, Outcome::Fail, value, &seen)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::question::Question;

    fn judge(items: Value, expect: Option<&str>) -> (Outcome, String) {
        let probe = json!({ "name": "p", "kubernetes": { "kind": "Pod" }, "expect": expect });
        let probe = serde_json::from_value(probe).unwrap();
        let question = Question::of(&probe).unwrap();
        let expectation = Expectation::of(&probe, question).unwrap();
        let Value::Array(items) = items else { panic!("a list") };
        let objects = Objects { kind: "Pod".to_owned(), items, _room: Room::default() };
        let sample = judged(objects, &expectation, None, Timestamp::UNIX_EPOCH);
        (sample.outcome, sample.seen)
    }

    fn pod(name: &str, ready: &str) -> Value {
        json!({ "metadata": { "name": name }, "status": { "phase": "Running",
                "conditions": [{ "type": "Ready", "status": ready, "reason": "Why" }] } })
    }

    #[test]
    fn pods_are_judged_without_and_with_an_expression() {
        let mut going = pod("c", "False");
        going["metadata"]["deletionTimestamp"] = json!("2026-11-28T10:00:00Z");
        let two = json!([pod("a", "True"), pod("b", "False"), going]);
        assert_eq!(judge(two.clone(), None), (Outcome::Fail, "b: not ready: Why".to_owned()));
        assert_eq!(judge(json!([pod("a", "True"), going]), None).0, Outcome::Pass);
        assert_eq!(
            judge(json!([going]), None),
            (Outcome::Fail, "1 object, all of them going".to_owned())
        );
        let running = "items.all(p, p.status.phase in ['Running', 'Succeeded'])";
        assert_eq!(judge(two.clone(), Some(running)), (Outcome::Pass, "3 objects".to_owned()));
        assert_eq!(judge(two.clone(), Some("value >= 4")).0, Outcome::Fail);
        assert_eq!(judge(two, Some("items.all(p, p.status.restarts == 0)")).0, Outcome::Error);
    }

    #[test]
    fn a_list_that_is_cut_is_no_answer() {
        assert!(items(json!({ "metadata": { "continue": "x" }, "items": [{}] }), "pods").is_err());
        assert!(items(json!({ "items": null }), "pods").is_err());
        assert_eq!(items(json!({ "metadata": {}, "items": [{}] }), "pods").unwrap().len(), 1);
    }
}
