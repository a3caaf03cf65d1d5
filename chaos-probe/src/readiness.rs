//! Says whether an object is as ready as it declares to be.

use serde_json::Value;

/// Why an object is not ready, if it is not. Kinds that declare nothing are ready when they are there.
pub fn unready(kind: &str, object: &Value) -> Option<String> {
    let spec = &object["spec"];
    let status = &object["status"];
    let count = |value: &Value| value.as_i64().unwrap_or_default();
    match kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" => {
            let declared = spec["replicas"].as_i64().unwrap_or(1);
            replicas(object, count(&status["readyReplicas"]), declared)
        }
        "DaemonSet" => replicas(
            object,
            count(&status["numberReady"]),
            count(&status["desiredNumberScheduled"]),
        ),
        "Pod" if status["phase"] == "Succeeded" => None,
        "Pod" | "Node" => (!has_condition(status, "Ready"))
            .then(|| condition(status, "Ready").unwrap_or_else(|| "not ready".to_owned())),
        "Job" => has_condition(status, "Failed")
            .then(|| condition(status, "Failed").unwrap_or_else(|| "failed".to_owned())),
        _ => None,
    }
}

/// Whether an object is a pod that is going: what follows it counts in its place.
pub fn is_going(kind: &str, object: &Value) -> bool {
    kind == "Pod" && object["metadata"]["deletionTimestamp"].is_string()
}

fn replicas(object: &Value, ready: i64, declared: i64) -> Option<String> {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    let observed = object["status"]["observedGeneration"].as_i64().unwrap_or_default();
    if ready != declared {
        return Some(format!("{ready} of {declared} ready"));
    }
    (observed < generation).then(|| "its last change is not seen to yet".to_owned())
}

fn find<'s>(status: &'s Value, name: &str) -> Option<&'s Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

fn has_condition(status: &Value, name: &str) -> bool {
    find(status, name).is_some_and(|condition| condition["status"] == "True")
}

fn condition(status: &Value, name: &str) -> Option<String> {
    let reason = find(status, name)?["reason"].as_str()?;
    Some(format!("{}: {reason}", if name == "Ready" { "not ready" } else { "failed" }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replicated(declared: Value, ready: i64, observed: i64) -> Value {
        json!({ "metadata": { "generation": 3 }, "spec": { "replicas": declared },
                "status": { "readyReplicas": ready, "observedGeneration": observed } })
    }

    fn with_condition(kind: &str, value: &str) -> Value {
        json!({ "status": { "conditions": [{ "type": kind, "status": value, "reason": "Why" }] } })
    }

    #[test]
    fn objects_are_as_ready_as_they_declare() {
        for (kind, object, expected) in [
            ("Deployment", replicated(json!(3), 3, 3), None),
            ("Deployment", replicated(json!(3), 2, 3), Some("2 of 3 ready")),
            ("Deployment", replicated(json!(3), 4, 3), Some("4 of 3 ready")),
            ("Deployment", replicated(json!(3), 3, 2), Some("its last change is not seen to yet")),
            ("StatefulSet", replicated(Value::Null, 1, 3), None),
            ("ReplicaSet", replicated(json!(0), 0, 3), None),
            ("Deployment", json!({ "spec": { "replicas": 1 } }), Some("0 of 1 ready")),
            (
                "DaemonSet",
                json!({ "status": { "numberReady": 2, "desiredNumberScheduled": 2 } }),
                None,
            ),
            (
                "DaemonSet",
                json!({ "status": { "desiredNumberScheduled": 2 } }),
                Some("0 of 2 ready"),
            ),
            ("Pod", with_condition("Ready", "True"), None),
            ("Pod", with_condition("Ready", "False"), Some("not ready: Why")),
            ("Pod", json!({}), Some("not ready")),
            ("Pod", json!({ "status": { "phase": "Succeeded" } }), None),
            ("Node", with_condition("Ready", "Unknown"), Some("not ready: Why")),
            ("Job", json!({ "status": { "active": 1 } }), None),
            ("Job", with_condition("Complete", "True"), None),
            ("Job", with_condition("Failed", "True"), Some("failed: Why")),
            ("ConfigMap", json!({}), None),
        ] {
            assert_eq!(unready(kind, &object).as_deref(), expected, "{kind}: {object}");
        }
    }
}
