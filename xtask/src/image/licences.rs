//! Gathers the texts of licences, each once.

use std::{collections::HashMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use spdx::{Expression, ParseMode};

use super::inventory::{Inventory, Part};

/// How the names of such files begin.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// Endings of files that have such names and are something else.
const PROGRAMS: [&str; 6] = ["c", "h", "json", "py", "rs", "toml"];

/// The expression as SPDX writes it: crates of old have a slash for `OR`.
pub fn canonical(licence: &str) -> Result<String> {
    Expression::parse_mode(licence, ParseMode::LAX).context("read the expression")?;
    let canonical = Expression::canonicalize(licence).context("read the expression")?;
    Ok(canonical.unwrap_or_else(|| licence.to_owned()))
}

/// The texts in a directory, and below it where that is asked for, in the order of their paths.
pub fn files(directory: &Path, below: bool) -> Result<Vec<String>> {
    let listed = || format!("list {}", directory.display());
    let entries = fs::read_dir(directory).with_context(listed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        if path.is_dir() {
            if below {
                texts.extend(files(&path, below)?);
            }
        } else if is_licence(&path) {
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(texts)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    NAMES.iter().any(|begin| name.starts_with(begin)) && !PROGRAMS.contains(&ending.as_str())
}

/// The texts that a part's licence asks for: those that come with it; else SPDX's, as well as those of licences that
/// the files of the workspace lack.
pub fn texts(part: &Part) -> Result<Vec<String>> {
    let expression = Expression::parse(&part.licence)
        .with_context(|| format!("the licence of {}", part.reference()))?;
    let mut texts: Vec<String> = part.texts.iter().map(|text| plain(text)).collect();
    let comes_with_texts = !texts.is_empty();
    for asked in expression.requirements().map(|asked| &asked.req) {
        let Some(licence) = asked.license.id() else { continue };
        let is_there = match part.is_of_registry {
            true => comes_with_texts,
            false => comes_with_texts && matches!(licence.name, "MIT" | "Apache-2.0"),
        };
        if is_there {
            continue;
        }
        let authors = part.authors.join(", ");
        let by = if authors.is_empty() { String::new() } else { format!("By {authors}.\n\n") };
        texts.push(plain(&format!("{by}{}", licence.text())));
        if let Some(exception) = asked.addition.as_ref().and_then(|addition| addition.id()) {
            texts.push(plain(exception.text()));
        }
    }
    Ok(texts)
}

/// Without what differs between copies of the same text.
fn plain(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    text.trim_start_matches(['\n', '\u{feff}']).trim_end().to_owned()
}

/// The file that goes with the program.
pub fn page(inventory: &Inventory) -> Result<String> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut all = String::new();
    let mut page = format!(
        "What {} is made of, by name and version, with the licence and the numbers of the texts below.\n\n",
        inventory.root
    );
    for (reference, part) in &inventory.parts {
        let mut own = Vec::new();
        for text in texts(part)? {
            let next = numbers.len() + 1;
            let number = *numbers.entry(text.clone()).or_insert(next);
            if number == next {
                write!(all, "\n======== {number} ========\n\n{text}\n")
                    .expect("a String takes every write");
            }
            own.push(number);
        }
        own.sort_unstable();
        own.dedup();
        let own: Vec<String> = own.iter().map(usize::to_string).collect();
        writeln!(page, "{reference}: {} [{}]", part.licence, own.join(", "))
            .expect("a String takes every write");
    }
    Ok(page + &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(licence: &str, texts: &[&str], is_of_registry: bool) -> Part {
        Part {
            name: "a".to_owned(),
            version: "1".to_owned(),
            licence: licence.to_owned(),
            authors: vec!["Jane".to_owned()],
            is_of_registry,
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Part::default()
        }
    }

    #[test]
    fn a_part_has_its_own_texts_or_those_of_spdx() {
        let own = texts(&part("MIT OR Apache-2.0", &["mine\r\n"], true)).unwrap();
        assert_eq!(own, ["mine"]);
        let general = texts(&part("ISC", &[], true)).unwrap();
        assert!(
            general[0].starts_with("By Jane.\n\n") && general[0].contains("ISC"),
            "{general:?}"
        );
        let excepted = texts(&part("Apache-2.0 WITH LLVM-exception", &[], false)).unwrap();
        assert_eq!(excepted.len(), 2);
        let object = texts(&part("(MIT OR Apache-2.0) AND GPL-2.0-only", &["m"], false)).unwrap();
        assert!(object.len() == 2 && object[1].contains("GNU GENERAL PUBLIC LICENSE"));
    }

    #[test]
    fn a_text_is_there_once_and_found_by_its_number() {
        let first = part("MIT", &["the text"], true);
        let second = Part {
            name: "b".to_owned(),
            texts: vec!["the text \n".into(), "more".into()],
            ..first.clone()
        };
        let parts = [first, second].map(|part| (part.reference(), part));
        let inventory = Inventory { root: "a@1".to_owned(), parts: parts.into() };
        let page = page(&inventory).unwrap();
        assert!(page.contains("a@1: MIT [1]\nb@1: MIT [1, 2]\n"), "{page}");
        assert_eq!(page.matches("the text\n").count(), 1, "{page}");
        assert!(page.contains("======== 2 ========\n\nmore\n"), "{page}");
    }

    #[test]
    fn licences_are_told_by_their_names() {
        for name in ["LICENSE-MIT", "LICENSE.md", "COPYING", "unlicense.txt", "LICENCE.Apache-2.0"]
        {
            assert!(is_licence(Path::new(name)), "{name}");
        }
        for name in ["license.rs", "README.md", "Cargo.toml"] {
            assert!(!is_licence(Path::new(name)), "{name}");
        }
        assert_eq!(canonical("MIT/Apache-2.0").unwrap(), "MIT OR Apache-2.0");
        assert_eq!(canonical("(MIT OR Zlib) AND ISC").unwrap(), "(MIT OR Zlib) AND ISC");
        assert!(canonical("whatever you like").is_err());
    }
}
