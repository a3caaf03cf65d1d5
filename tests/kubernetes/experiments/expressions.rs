//! The table of expressions on a real API server: what `chaos-expression` is compared with on the host is what the server
//! gives.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use chaos_tests::control_plane::{ControlPlane, Identity};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{Api, Client, api::PostParams, client::Body, core::Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::scene::await_that;
use crate::agent::client;

/// Expressions over the same variables.
#[derive(Deserialize)]
struct Table {
    variables: BTreeMap<String, Value>,
    #[serde(default)]
    durations: BTreeMap<String, String>,
    rows: Vec<(Value, String)>,
}

impl Table {
    /// An expression of a policy, in which variables are parts of the object. Elements of lists have a type that is known
    /// when they are there, as that of variables is.
    fn in_policy(&self, number: usize, expression: &str) -> String {
        let mut bound = format!("({expression})");
        for name in self.durations.keys() {
            bound = format!("[duration(object.spec.{name})].all({name}, {bound})");
        }
        for name in self.variables.keys() {
            bound = format!("[object.spec.{name}].all({name}, {bound})");
        }
        format!("{number} == {number} && {bound}")
    }

    /// An object that the policy of this name is asked about, and no other.
    fn object(&self, name: &str) -> Value {
        let mut spec = json!(self.variables);
        for (name, text) in &self.durations {
            spec[name] = json!(text);
        }
        json!({ "apiVersion": "test.chaos-agent.dev/v1", "kind": "Table", "metadata": { "name": name }, "spec": spec })
    }
}

/// How many expressions a policy has. An answer has room for 4096 characters of warnings
/// (`truncateAtTotalRunes` of apiserver's `warning.go`).
const PART: usize = 6;

/// The kind whose objects carry the variables.
fn definition() -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "type": "object", "properties": { "spec": anything } });
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "tables.test.chaos-agent.dev" },
        "spec": { "group": "test.chaos-agent.dev", "scope": "Cluster",
            "names": { "kind": "Table", "plural": "tables", "singular": "table" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } })
}

fn policy(name: &str, validations: &[Value]) -> Value {
    let rule = json!({ "apiGroups": ["test.chaos-agent.dev"], "apiVersions": ["v1"],
        "resources": ["tables"], "operations": ["CREATE"] });
    json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": name },
        "spec": { "failurePolicy": "Fail", "matchConstraints": { "resourceRules": [rule] },
            "matchConditions": [{ "name": "one", "expression": format!("object.metadata.name == '{name}'") }],
            "validations": validations } })
}

fn validation(expression: &str, message: &str) -> Value {
    json!({ "expression": expression, "message": message })
}

/// A server, and what was asked of it.
struct Server {
    plane: ControlPlane,
    runtime: Runtime,
    admin: Client,
}

impl Server {
    /// Whether the server takes an expression at all.
    fn compiles(&self, expression: &str) -> Result<bool> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.admin.clone());
        let policy = policy("one", &[validation(expression, "it is false")]);
        let policy = serde_json::from_value(policy)?;
        let params = PostParams { dry_run: true, ..PostParams::default() };
        match self.runtime.block_on(policies.create(&params, &policy)) {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 422 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What the server warns of when an object is made. Numbers arrive as they are written.
    fn warnings(&self, object: &Value) -> Result<Vec<String>> {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let tables = Request::new("/apis/test.chaos-agent.dev/v1/tables");
        let request = tables.create(&params, object.to_string().into_bytes())?;
        let response = self.runtime.block_on(self.admin.send(request.map(Body::from)))?;
        ensure!(response.status().is_success(), "{}", response.status());
        let warnings = response.headers().get_all("warning").iter();
        warnings.map(|value| Ok(String::from_utf8(value.as_bytes().to_vec())?)).collect()
    }

    /// Makes a policy of expressions. Each must compile.
    fn make(&self, name: &str, table: &Table, rows: &[(usize, &str)]) -> Result<()> {
        let mut validations = vec![validation("false", "the policy is in force")];
        for (number, text) in rows {
            validations.push(validation(
                &table.in_policy(*number, text),
                &format!("row {number} is false"),
            ));
        }
        let binding = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Warn"] } });
        let both = json!({ "apiVersion": "v1", "kind": "List", "items": [policy(name, &validations), binding] });
        self.plane.apply(&both.to_string())?;
        Ok(())
    }

    /// What the server gives for the expressions of a policy, by their numbers.
    fn evaluate(
        &self,
        name: &str,
        table: &Table,
        rows: &[(usize, &str)],
    ) -> Result<BTreeMap<usize, Value>> {
        let object = table.object(name);
        let warnings = await_that(name, || {
            let warnings = self.warnings(&object)?;
            let is_in_force = warnings.iter().any(|one| one.contains("the policy is in force"));
            Ok(if is_in_force { Ok(warnings) } else { Err(warnings) })
        })?;
        let mut found: BTreeMap<usize, Value> =
            rows.iter().map(|(number, _)| (*number, json!(true))).collect();
        for warning in warnings {
            let (result, rest) = if let Some((_, rest)) = warning.split_once(": row ") {
                (json!(false), rest)
            } else if let Some((_, rest)) = warning.split_once(": expression '") {
                (json!("error"), rest)
            } else if warning.contains("the policy is in force") {
                continue;
            } else {
                bail!("a warning of something else: {warning}");
            };
            let number = rest.split(' ').next().unwrap_or_default();
            let number: usize = number.parse().with_context(|| warning.clone())?;
            found.insert(number, result);
        }
        Ok(found)
    }
}

#[test]
fn a_real_api_server_gives_what_the_table_says() -> Result<()> {
    let plane = ControlPlane::start()?;
    plane.apply(&definition().to_string())?;
    plane.await_kinds(&["crd/tables.test.chaos-agent.dev"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let admin = runtime.block_on(client(plane.kubeconfig(Identity::Admin)))?;
    let server = Server { plane, runtime, admin };
    let file = xtask::paths::workspace().join("chaos-expression/tests/expressions.yaml");
    let tables: Vec<Table> = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    // A policy is in force about a second after it was made: all are made first.
    let mut compiled: Vec<Vec<(usize, &str)>> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let mut rows = Vec::new();
        for (number, (_, text)) in table.rows.iter().enumerate() {
            if server.compiles(&table.in_policy(number, text))? {
                rows.push((number, text.as_str()));
            }
        }
        for (part, rows) in rows.chunks(PART).enumerate() {
            server.make(&format!("table-{index}-{part}"), table, rows)?;
        }
        compiled.push(rows);
    }
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (index, (table, rows)) in tables.iter().zip(&compiled).enumerate() {
        // What does not compile is an error.
        let mut found: BTreeMap<usize, Value> =
            (0..table.rows.len()).map(|number| (number, json!("error"))).collect();
        for (part, rows) in rows.chunks(PART).enumerate() {
            found.extend(server.evaluate(&format!("table-{index}-{part}"), table, rows)?);
        }
        for (number, (expected, text)) in table.rows.iter().enumerate() {
            count += 1;
            if found.get(&number) != Some(expected) {
                wrong.push(format!(
                    "{text}: the table says {expected}, the server {:?}",
                    found.get(&number)
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(count >= 100, "{count} rows");
    Ok(())
}
