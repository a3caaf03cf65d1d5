//! Reads YAML and keeps where every node stands.

use std::{collections::BTreeMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Nodes within nodes: what lies deeper is refused.
const DEEPEST: usize = 64;

/// Nodes of one document, those of aliases counted each time.
const MOST_NODES: usize = 100_000;

/// A value and the bytes where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    /// Of the key.
    pub span: Range<usize>,
    pub node: Node,
}

/// YAML that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub message: String,
    pub at: usize,
}

impl Node {
    /// The same without places. Of keys that are there twice, the last counts.
    pub fn json(&self) -> Value {
        match &self.value {
            Content::Scalar(value) => value.clone(),
            Content::List(nodes) => nodes.iter().map(Self::json).collect(),
            Content::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.node.json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }
}

/// Reads every document of a text. Those before a mistake are kept.
pub fn read(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => {
                let span = span.byte_range().unwrap_or(0..0);
                if let Err(message) = builder.take(event, span.clone()) {
                    return (builder.documents, Some(SyntaxError { message, at: span.start }));
                }
            }
            Err(error) => {
                let at = byte(text, error.marker());
                let message = error.kind().to_string();
                return (builder.documents, Some(SyntaxError { message, at }));
            }
        }
    }
    (builder.documents, None)
}

fn byte(text: &str, marker: &granit_parser::Marker) -> usize {
    let of_character = || text.char_indices().nth(marker.index()).map_or(text.len(), |(at, _)| at);
    marker.byte_offset().unwrap_or_else(of_character).min(text.len())
}

/// Builds nodes from the events of the parser.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
    /// The key whose value comes next.
    key: Option<(String, Range<usize>)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = match style {
                    ScalarStyle::Plain if tag.is_none() => plain(&text),
                    _ => Value::String(text.into_owned()),
                };
                self.node(Node { span, value: Content::Scalar(value) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(span.start, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin(span.start, anchor, Content::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let span = open.start..span.end.max(open.start);
                self.node(Node { span, value: open.content }, open.anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or("an alias stands within its own anchor")?;
                self.node(Node { span, ..node }, 0)
            }
            // Stream and document marks, and comments, are no nodes.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, start: usize, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= DEEPEST {
            return Err(format!("nodes are nested more than {DEEPEST} deep"));
        }
        self.open.push(Open { start, anchor, content, key: None });
        Ok(())
    }

    fn node(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += size(&node);
        if self.nodes > MOST_NODES {
            return Err(format!("there are more than {MOST_NODES} nodes"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut open.content, open.key.take()) {
            (Content::List(nodes), _) => nodes.push(node),
            (Content::Map(entries), Some((key, span))) => entries.push(Entry { key, span, node }),
            (Content::Map(_), None) => {
                let key = match &node.value {
                    Content::Scalar(Value::String(text)) => text.clone(),
                    Content::Scalar(other) => other.to_string(),
                    Content::List(_) | Content::Map(_) => return Err("a key is no text".to_owned()),
                };
                open.key = Some((key, node.span));
            }
            (Content::Scalar(_), _) => {}
        }
        Ok(())
    }
}

/// What an alias brings again is counted again: a few lines could stand for millions of nodes.
fn size(node: &Node) -> usize {
    match &node.value {
        Content::Scalar(_) => 1,
        Content::List(nodes) => 1 + nodes.iter().map(size).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.node)).sum::<usize>(),
    }
}

/// A plain scalar as kubectl reads it.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return true.into();
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return false.into();
        }
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(number) if is_number && number.is_finite() => number.into(),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_their_places_are_read() {
        let text = "a: &x 5m\nb: [1, '2', *x]\n---\n? c\n: |\n  drop\n  delay\n";
        let (documents, error) = read(text);
        assert_eq!(error, None);
        assert_eq!(documents[0].json(), json!({ "a": "5m", "b": [1, "2", "5m"] }));
        assert_eq!(documents[1].json(), json!({ "c": "drop\ndelay\n" }));
        let Content::Map(entries) = &documents[0].value else { panic!("{documents:?}") };
        let entry = &entries[0];
        assert_eq!((&text[entry.span.clone()], &text[entry.node.span.clone()]), ("a", "5m"));
    }

    #[test]
    fn what_cannot_be_read_has_a_place() {
        let (documents, error) = read("a: 1\n---\nb: [1\nc: 2\n");
        assert_eq!(documents.len(), 1);
        let error = error.unwrap();
        assert!(error.at > 8 && !error.message.is_empty(), "{error:?}");
        let bomb = (1..30).fold("a0: &a0 [x,x]\n".to_owned(), |text, level| {
            let before = level - 1;
            format!("{text}a{level}: &a{level} [*a{before},*a{before}]\n")
        });
        assert!(read(&bomb).1.unwrap().message.contains("more than 100000 nodes"));
    }

    #[test]
    fn plain_scalars_are_what_kubernetes_takes_them_for() {
        for (text, value) in [
            ("5m", json!("5m")),
            ("50%", json!("50%")),
            ("3", json!(3)),
            ("1.5", json!(1.5)),
            ("yes", json!(true)),
            ("", json!(null)),
            ("-", json!("-")),
            ("inf", json!("inf")),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }
}
