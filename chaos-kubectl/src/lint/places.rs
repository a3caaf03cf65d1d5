//! Finds where in a file the parts of a document stand, by their paths.

use std::ops::Range;

use super::yaml::{Content, Node};

/// A way to a part: keys, and indices as text.
pub type Path = Vec<String>;

/// The place of a part; of the nearest part around it, where it is not there.
pub fn value(root: &Node, path: &[String]) -> Range<usize> {
    let (mut node, mut span) = (root, heading(root));
    for part in path {
        match child(node, part) {
            Some((key, found)) => {
                node = found;
                // Of a map or list the key shows better what is meant than its first line.
                span = match (&found.value, key) {
                    (Content::Scalar(_), _) => found.span.clone(),
                    (_, Some(key)) => key,
                    (_, None) => heading(found),
                };
            }
            None => break,
        }
    }
    span
}

/// The place of the last key of a path.
pub fn key(root: &Node, path: &[String]) -> Range<usize> {
    let (mut node, mut span) = (root, heading(root));
    for part in path {
        let Some((key, found)) = child(node, part) else { break };
        span = key.unwrap_or_else(|| heading(found));
        node = found;
    }
    span
}

/// The node at a path.
pub fn node<'n>(root: &'n Node, path: &[String]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, part| child(node, part).map(|(_, found)| found))
}

/// Reads a path such as `spec.targets.web.pods` or `spec.steps[0].fault` along a document. Keys may have dots.
pub fn dotted(root: &Node, text: &str) -> Path {
    let (mut node, mut rest, mut path) = (root, text, Path::new());
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some((index, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        {
            let Some((_, found)) = child(node, index) else { break };
            path.push(index.to_owned());
            (node, rest) = (found, behind);
            continue;
        }
        let Content::Map(entries) = &node.value else { break };
        let fits = |key: &str| {
            rest.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let longest = entries.iter().filter(|entry| fits(&entry.key)).max_by_key(|e| e.key.len());
        let Some(entry) = longest else { break };
        path.push(entry.key.clone());
        (node, rest) = (&entry.node, &rest[entry.key.len()..]);
    }
    path
}

/// A path in words: `spec.steps[0].fault.do`.
pub fn words(path: &[String]) -> String {
    let mut words = String::new();
    for part in path {
        if part.parse::<usize>().is_ok() {
            words.push_str(&format!("[{part}]"));
        } else {
            if !words.is_empty() {
                words.push('.');
            }
            words.push_str(part);
        }
    }
    words
}

/// What a part of a path leads to, with the place of its key.
fn child<'n>(node: &'n Node, part: &str) -> Option<(Option<Range<usize>>, &'n Node)> {
    match &node.value {
        Content::Map(entries) => {
            let entry = entries.iter().rev().find(|entry| entry.key == part)?;
            Some((Some(entry.span.clone()), &entry.node))
        }
        Content::List(nodes) => Some((None, nodes.get(part.parse::<usize>().ok()?)?)),
        Content::Scalar(_) => None,
    }
}

/// The first word of a node.
fn heading(node: &Node) -> Range<usize> {
    match &node.value {
        Content::Scalar(_) => node.span.clone(),
        Content::List(nodes) => nodes.first().map_or(node.span.clone(), heading),
        Content::Map(entries) => {
            entries.first().map_or(node.span.clone(), |entry| entry.span.clone())
        }
    }
}

/// Where a part of a scalar's text stands in the file. Quotes, escapes and indentation make the two differ: it is looked
/// for by the line that it is in. The whole scalar, where that is not found.
pub fn within(file: &str, scalar: &Node, text: &str, part: Range<usize>) -> Range<usize> {
    let raw = file.get(scalar.span.clone()).unwrap_or_default();
    let line_start = text[..part.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].split('\n').next().unwrap_or_default();
    // Of equal lines, as many stand before it in the file as in the text.
    let before = text[..line_start].split('\n').filter(|other| *other == line).count();
    let before = if line_start == 0 { 0 } else { before };
    match raw.match_indices(line).nth(before).or_else(|| raw.match_indices(line).next()) {
        Some((at, _)) if !line.is_empty() => {
            let start = scalar.span.start + at + (part.start - line_start);
            let length = part.len().min(line.len() - (part.start - line_start)).max(1);
            start..(start + length).min(file.len())
        }
        _ => scalar.span.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::yaml::read;

    const TEXT: &str = "spec:\n  targets:\n    web.a: {pods: {}}\n  steps:\n  - fault:\n      do: |\n        drop\n        dorp\n";

    #[test]
    fn paths_lead_to_places() {
        let (documents, _) = read(TEXT);
        let root = &documents[0];
        let path = dotted(root, "spec.targets.web.a.pods");
        assert_eq!(path, ["spec", "targets", "web.a", "pods"]);
        assert_eq!(&TEXT[key(root, &path)], "pods");
        let path = dotted(root, "spec.steps[0].fault.do");
        assert_eq!(words(&path), "spec.steps[0].fault.do");
        let scalar = node(root, &path).unwrap();
        let place = within(TEXT, scalar, "drop\ndorp\n", 5..9);
        assert_eq!(&TEXT[place], "dorp");
        // What is missing is shown where it would be.
        let missing = dotted(root, "spec.steps[0].fault.for");
        assert_eq!(&TEXT[value(root, &missing)], "fault");
    }
}
