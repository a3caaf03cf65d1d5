//! Takes a file apart into documents, and checks what each Experiment or Run is in itself.

use std::{rc::Rc, sync::OnceLock};

use chaos_api::kinds::{Experiment, Run};
use chaos_fault::closest;
use kube::CustomResourceExt as _;
use serde_json::Value;

use super::{
    Checked, Mistake, Skipped, places, rules, schema,
    schema::Finding,
    script,
    yaml::{self, Content, Node},
};

const GROUP: &str = "chaos-agent.dev";
const VERSION: &str = "chaos-agent.dev/v1alpha1";
const KINDS: [&str; 2] = ["Experiment", "Run"];
const LISTS: [&str; 3] = ["List", "ExperimentList", "RunList"];
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// An Experiment or a Run, and where its parts stand.
#[derive(Debug)]
pub struct Document {
    pub kind: Kind,
    pub object: Value,
    pub root: Node,
    /// The whole file.
    pub file: Rc<str>,
}

/// Which of the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Experiment,
    Run,
}

impl Kind {
    /// The schema of its objects, by the definition that is made of its type.
    pub fn schema(self) -> &'static Value {
        static SCHEMAS: OnceLock<[Value; 2]> = OnceLock::new();
        let schemas = SCHEMAS.get_or_init(|| {
            [Experiment::crd(), Run::crd()].map(|definition| {
                let schema = &definition.spec.versions[0].schema;
                let schema = schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
                serde_json::to_value(schema).unwrap_or_default()
            })
        });
        match self {
            Self::Experiment => &schemas[0],
            Self::Run => &schemas[1],
        }
    }
}

/// Reads the documents of a text.
pub fn read(text: &str) -> Checked {
    let file: Rc<str> = text.into();
    let (nodes, error) = yaml::read(text);
    let mut checked = Checked::default();
    for root in nodes {
        checked.mistakes.extend(twice(&root));
        take(root, &file, &mut checked);
    }
    checked.mistakes.extend(error.map(|error| {
        let end = text[error.at..].chars().next().map_or(0, char::len_utf8);
        let message = format!("this is no YAML: {}", error.message);
        Mistake { message, help: None, span: error.at..error.at + end }
    }));
    checked
}

/// Sorts a document, or an item of a list of documents.
fn take(root: Node, file: &Rc<str>, checked: &mut Checked) {
    let object = root.json();
    if object.is_null() {
        return;
    }
    match kind(&root, &object) {
        Found::Kind(kind) => {
            checked.documents.push(Document { kind, object, root, file: file.clone() });
        }
        Found::List => {
            for item in items(root) {
                take(item, file, checked);
            }
        }
        Found::Other(what) => {
            let line = file[..root.span.start.min(file.len())].matches('\n').count() + 1;
            checked.skipped.push(Skipped { line, what });
        }
        Found::Wrong(mistake) => checked.mistakes.push(mistake),
    }
}

/// The objects of a list, as kubectl prints several.
fn items(list: Node) -> Vec<Node> {
    let Content::Map(entries) = list.value else { return Vec::new() };
    let items = entries.into_iter().rfind(|entry| entry.key == "items");
    match items.map(|entry| entry.node.value) {
        Some(Content::List(items)) => items,
        Some(Content::Scalar(_) | Content::Map(_)) | None => Vec::new(),
    }
}

enum Found {
    Kind(Kind),
    /// Other objects are in it.
    List,
    Other(String),
    Wrong(Mistake),
}

fn kind(root: &Node, object: &Value) -> Found {
    let word = |field: &str| object[field].as_str().unwrap_or_default();
    let (version, kind) = (word("apiVersion"), word("kind"));
    if LISTS.contains(&kind) && [VERSION, "v1"].contains(&version) {
        return Found::List;
    }
    let wrong = |field: &str, message: String, help: String| {
        let span = places::value(root, &[field.to_owned()]);
        Found::Wrong(Mistake { message, help: Some(help), span })
    };
    if version.split('/').next() != Some(GROUP) {
        let what =
            if kind.is_empty() { "no Kubernetes object".to_owned() } else { kind.to_owned() };
        // What has a kind of ours has nothing else to be.
        return match KINDS.contains(&kind) {
            true => wrong(
                "apiVersion",
                match kind {
                    "Experiment" => format!("an Experiment has the apiVersion `{VERSION}`"),
                    kind => format!("a {kind} has the apiVersion `{VERSION}`"),
                },
                format!("write `apiVersion: {VERSION}`"),
            ),
            false => Found::Other(what),
        };
    }
    if version != VERSION {
        return wrong(
            "apiVersion",
            format!("`{version}` is not known"),
            format!("write `{VERSION}`"),
        );
    }
    match kind {
        "Experiment" => Found::Kind(Kind::Experiment),
        "Run" => Found::Kind(Kind::Run),
        "" => wrong(
            "kind",
            "the field `kind` is missing".to_owned(),
            format!("write one of {}", KINDS.join(", ")),
        ),
        other => {
            let help = match closest(other, KINDS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", KINDS.join(", ")),
            };
            wrong("kind", format!("`{other}` is no kind of `{VERSION}`"), help)
        }
    }
}

/// Keys that are there twice: the API server would take one of them without a word.
fn twice(node: &Node) -> Vec<Mistake> {
    match &node.value {
        Content::Scalar(_) => Vec::new(),
        Content::List(nodes) => nodes.iter().flat_map(twice).collect(),
        Content::Map(entries) => {
            let mut mistakes: Vec<Mistake> = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                if entries[..index].iter().any(|before| before.key == entry.key) {
                    mistakes.push(Mistake {
                        message: format!("the key `{}` is there twice", entry.key),
                        help: Some("only one of them would count; remove one".to_owned()),
                        span: entry.span.clone(),
                    });
                }
                mistakes.extend(twice(&entry.node));
            }
            mistakes
        }
    }
}

impl Document {
    /// The object's name, or the beginning of it.
    pub fn name(&self) -> Option<&str> {
        let metadata = &self.object["metadata"];
        metadata["name"].as_str().or(metadata["generateName"].as_str())
    }

    /// Every mistake of the document.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut findings = self.outside();
        let spec = vec!["spec".to_owned()];
        let schema = &self.kind.schema()["properties"]["spec"];
        match &self.object["spec"] {
            Value::Null => findings.push(finding(Vec::new(), "the field `spec` is missing")),
            value => findings.extend(schema::check(schema, value, spec)),
        }
        let broken: Vec<places::Path> = findings.iter().map(|one| one.path.clone()).collect();
        // A rule reads the fields of its part. Where one of these has not its form, the rule says nothing new.
        let is_sound = |rule: &Finding| {
            broken
                .iter()
                .all(|path| !path.starts_with(&rule.path) || path.len() > rule.path.len() + 1)
        };
        findings.extend(rules::check(self).into_iter().filter(is_sound));
        let said: Vec<places::Path> = findings.iter().map(|one| one.path.clone()).collect();
        let scripted = script::check(self, &said);
        let is_new = |finding: &Finding| !script::tells(&scripted, &finding.message);
        let mut mistakes: Vec<Mistake> =
            findings.into_iter().filter(is_new).map(|finding| self.placed(finding)).collect();
        mistakes.extend(scripted);
        mistakes
    }

    /// What is wrong beside the spec.
    fn outside(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let unknown = |path: Vec<String>, known: &[&str]| {
            let name = path.last().cloned().unwrap_or_default();
            let near = closest(&name, known.iter().copied());
            Finding {
                message: format!("`{}` is no field", places::words(&path)),
                help: near.map(|near| format!("did you mean `{near}`?")),
                on_key: true,
                path,
            }
        };
        for name in self.object.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if !FIELDS.contains(&name.as_str()) {
                findings.push(unknown(vec![name.clone()], &FIELDS));
            }
        }
        let metadata = &self.object["metadata"];
        if metadata["name"].as_str().is_none() && metadata["generateName"].as_str().is_none() {
            let message = match self.kind {
                Kind::Experiment => "metadata.name is missing",
                Kind::Run => "metadata.name or metadata.generateName is missing",
            };
            findings.push(finding(vec!["metadata".to_owned()], message));
        }
        findings
    }

    /// A finding with its place in the file.
    pub fn placed(&self, finding: Finding) -> Mistake {
        let Finding { path, on_key, message, help } = finding;
        let span = match on_key {
            true => places::key(&self.root, &path),
            false => places::value(&self.root, &path),
        };
        let message = match on_key || path.is_empty() {
            true => message,
            false => format!("{}: {message}", places::words(&path)),
        };
        Mistake { message, help, span }
    }
}

fn finding(path: places::Path, message: &str) -> Finding {
    Finding { path, on_key: false, message: message.to_owned(), help: None }
}
