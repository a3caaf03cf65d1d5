//! Prints the fields of the kinds as Markdown, for `./x crds`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use chaos_api::kinds::{Experiment, Run};
use kube::CustomResourceExt as _;
use serde_json::Value;

const HEAD: &str = "\
# The fields of Experiment and Run

<!-- Written by `./x crds` from the types in chaos-api/src/kinds; `./x crds --check` is part of ci. -->

What the API server accepts, by the definitions in `manifests/controller/crds.yaml`. [experiments.md](experiments.md) and
[probes.md](probes.md) explain the fields; what a definition cannot say, such as how a sentence is written, `kubectl chaos
lint` checks. `NAME` and `KEY` stand for names of your own, `[]` for each one of a list. Fields with `*` must be there.

A *duration* is such as `90s`, `1h30m` or `250ms`.
";

/// The fields that hold the whole spec of an Experiment again.
const EXPERIMENT: [&str; 2] = ["spec.inline", "status.spec"];

/// How the description of a moment begins where the field has none of its own.
const MOMENT: &str = "Time is a wrapper";

/// The pattern of durations.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$";

fn main() -> io::Result<()> {
    let mut page = HEAD.to_owned();
    for definition in [Experiment::crd(), Run::crd()] {
        let definition = serde_json::to_value(&definition).map_err(io::Error::other)?;
        kind(&mut page, &definition);
    }
    io::stdout().lock().write_all(page.as_bytes())
}

fn kind(page: &mut String, definition: &Value) {
    let names = &definition["spec"]["names"];
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    line(page, &format!("\n## {}\n", text(&names["kind"])));
    line(page, &in_one_line(&schema["description"]));
    let group = text(&definition["spec"]["group"]);
    let short = text(&names["shortNames"][0]);
    line(
        page,
        &format!("`apiVersion: {group}/{}`, `kubectl get {short}`.", text(&version["name"])),
    );
    for part in ["spec", "status"] {
        let mut rows = Rows::default();
        rows.add(part, &schema["properties"][part]);
        line(page, &format!("\n### {} {part}\n", text(&names["kind"])));
        line(page, "| field | form | meaning |\n|---|---|---|");
        rows.fields.iter().for_each(|row| line(page, row));
        if !rows.rules.is_empty() {
            line(page, "\nBeside that:\n");
            rows.rules.iter().for_each(|rule| line(page, rule));
        }
    }
}

/// What is said of a field and of those below it.
#[derive(Default)]
struct Rows {
    fields: Vec<String>,
    rules: Vec<String>,
}

impl Rows {
    fn add(&mut self, path: &str, schema: &Value) {
        for rule in list(&schema["x-kubernetes-validations"]) {
            self.rules.push(format!("- `{path}`: {}", in_one_line(&rule["message"])));
        }
        if EXPERIMENT.contains(&path) {
            return;
        }
        if let Value::Object(fields) = &schema["properties"] {
            let required = list(&schema["required"]);
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                let star = if required.iter().any(|one| text(one) == name) { "*" } else { "" };
                let mut meaning = in_one_line(&field["description"]);
                if meaning.starts_with(MOMENT) {
                    meaning.clear();
                }
                if EXPERIMENT.contains(&path.as_str()) {
                    meaning.push_str("; the fields are those of an Experiment's spec");
                }
                self.fields.push(format!(
                    "| `{path}`{star} | {} | {} |",
                    escaped(&form(field)),
                    escaped(&meaning)
                ));
                self.add(&path, field);
            }
        }
        if schema["items"].is_object() {
            self.add(&format!("{path}[]"), &schema["items"]);
        }
        let others = &schema["additionalProperties"];
        if others.is_object() {
            let name = if others["properties"].is_object() { "NAME" } else { "KEY" };
            self.add(&format!("{path}.{name}"), others);
        }
    }
}

/// The type of a field, its bounds, and what counts where nothing is said.
fn form(field: &Value) -> String {
    let mut form = kind_of(field);
    let is_said = |default: &&Value| !default.is_object() && !plain(default).is_empty();
    if let Some(default) = field.get("default").filter(is_said) {
        form.push_str(&format!("; `{}` by default", plain(default)));
    }
    form
}

fn kind_of(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "number or text".to_owned();
    }
    let words = list(&field["enum"]);
    if !words.is_empty() {
        let words: Vec<String> = words.iter().filter(|word| !word.is_null()).map(plain).collect();
        return format!("`{}`", words.join("`, `"));
    }
    match text(&field["type"]) {
        "array" => {
            format!("list{} of {}", at_most(field, "maxItems"), kind_of(&field["items"]))
        }
        "object" if field["additionalProperties"].is_object() => {
            let values = kind_of(&field["additionalProperties"]);
            format!("map{} to {values}", at_most(field, "maxProperties"))
        }
        "object" => "object".to_owned(),
        "string" if text(&field["pattern"]) == DURATION => "duration".to_owned(),
        "string" if text(&field["format"]) == "date-time" => "moment".to_owned(),
        "string" => match bound(field, "maxLength") {
            Some(most) => format!("text, {most} characters at most"),
            None => "text".to_owned(),
        },
        "integer" | "number" => match (bound(field, "minimum"), bound(field, "maximum")) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) if least != "0" => format!("number, {least} at least"),
            (_, Some(most)) => format!("number, {most} at most"),
            (_, None) => "number".to_owned(),
        },
        "boolean" => "`true`, `false`".to_owned(),
        other => other.to_owned(),
    }
}

fn at_most(field: &Value, name: &str) -> String {
    bound(field, name).map(|most| format!(", {most} at most,")).unwrap_or_default()
}

fn bound(field: &Value, name: &str) -> Option<String> {
    let bound = field[name].as_f64()?;
    Some(format!("{bound}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A word or a number; an empty list is nothing.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => String::new(),
        other => other.to_string(),
    }
}

fn in_one_line(value: &Value) -> String {
    text(value).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a cell of a table may have.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a text can be written to");
}
