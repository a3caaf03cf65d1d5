//! Says which pods a step of a plan may remove, and what PodDisruptionBudgets say of them. Pure.

use chaos_api::kinds::Target;
use chaos_controller::counted;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Known, why::is_ready};

/// What is known of the pods of a step that removes some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removable {
    pub step: String,
    /// How many of them the step removes.
    pub picked: u32,
    /// The ready pods that the labels of the target select.
    pub pods: Vec<String>,
    /// The target has fields that leave only some of these.
    pub is_narrower: bool,
    /// A sentence for each budget.
    pub budgets: Vec<String>,
    /// Why something was not looked at.
    pub unknown: Vec<String>,
}

impl Removable {
    /// Finds the pods among those of the namespace.
    pub fn of(
        step: &str,
        target: &Target,
        picked: u32,
        pods: &Known<Vec<Pod>>,
        budgets: &Known<Vec<PodDisruptionBudget>>,
    ) -> Self {
        let mut removable = Self {
            step: step.to_owned(),
            picked,
            pods: Vec::new(),
            is_narrower: target.owner.is_some()
                || target.r#where.is_some()
                || target.nodes.is_some(),
            budgets: Vec::new(),
            unknown: Vec::new(),
        };
        let selected: Vec<&Pod> = match (pods, &target.pods) {
            (Known::No(why), _) => {
                removable.unknown.push(why.clone());
                return removable;
            }
            (Known::Is(_), None) => return removable,
            (Known::Is(pods), Some(labels)) => {
                let is_selected = |pod: &&Pod| is_ready(pod) && labels.matches(pod.labels());
                pods.iter().filter(is_selected).collect()
            }
        };
        removable.pods = selected.iter().map(|pod| pod.name_any()).collect();
        removable.pods.sort();
        match budgets {
            Known::No(why) => removable.unknown.push(why.clone()),
            Known::Is(budgets) => {
                let said = budgets.iter().filter_map(|budget| in_words(budget, &selected));
                removable.budgets.extend(said);
            }
        }
        removable
    }
}

/// What a budget says, if it is about one of these pods.
fn in_words(budget: &PodDisruptionBudget, pods: &[&Pod]) -> Option<String> {
    let selector = budget.spec.as_ref()?.selector.clone()?;
    let selector: Selector = selector.try_into().ok()?;
    pods.iter().find(|pod| selector.matches(pod.labels()))?;
    let name = budget.name_any();
    let Some(status) = &budget.status else {
        return Some(format!("PodDisruptionBudget {name} allows nothing yet: it has no status"));
    };
    let whole = |number: i32| u32::try_from(number).unwrap_or(0);
    Some(format!(
        "PodDisruptionBudget {name} lets {} go now: {} of {} are healthy, and {} must be",
        counted(whole(status.disruptions_allowed), "pod"),
        status.current_healthy,
        status.expected_pods,
        status.desired_healthy
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, app: &str, ready: &str) -> Value {
        json!({ "metadata": { "name": name, "labels": { "app": app } },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] } })
    }

    fn target(more: Value) -> Target {
        let mut target = json!({ "pods": { "matchLabels": { "app": "web" } } });
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(target).unwrap()
    }

    #[test]
    fn ready_pods_and_their_budgets_are_named() {
        let pods = json!([
            pod("web-1", "web", "True"),
            pod("web-0", "web", "True"),
            pod("web-2", "web", "False"),
            pod("db-0", "db", "True")
        ]);
        let budget = |name: &str, app: &str| {
            json!({ "metadata": { "name": name },
            "spec": { "selector": { "matchLabels": { "app": app } } },
            "status": { "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 3 } })
        };
        let budgets = json!([budget("web", "web"), budget("db", "db")]);
        let pods = Known::Is(serde_json::from_value(pods).unwrap());
        let budgets = Known::Is(serde_json::from_value(budgets).unwrap());
        let found = Removable::of("kill", &target(json!({})), 1, &pods, &budgets);
        assert_eq!((found.pods, found.is_narrower), (vec!["web-0".into(), "web-1".into()], false));
        let expected =
            "PodDisruptionBudget web lets 1 pod go now: 2 of 3 are healthy, and 1 must be";
        assert_eq!(found.budgets, [expected]);
        let forbidden = Known::No("you may not list pods".to_owned());
        let narrow = target(json!({ "where": "age > duration('5m')" }));
        let found = Removable::of("kill", &narrow, 1, &forbidden, &budgets);
        assert_eq!((found.unknown.len(), found.is_narrower), (1, true));
    }
}
