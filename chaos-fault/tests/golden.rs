//! What the language says of a fixed set of texts, byte for byte: a change of structure changes none of it.
//! `SNAPSHOTS=overwrite` writes `tests/golden` anew, where a change of behaviour is meant.

use std::{fmt::Write as _, fs, path::Path};

use chaos_fault::{Fault, Sentence, parse, read, to_yaml};

fn recorded(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn sentences() -> Vec<(String, Fault)> {
    let parse = |text: &str| {
        let sentences = parse(text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        let [Sentence { fault, .. }] = &sentences[..] else { panic!("{text}: not one sentence") };
        (text.to_owned(), fault.clone())
    };
    recorded("sentences.txt").lines().map(parse).collect()
}

#[test]
fn sentences_are_printed_as_before() {
    let mut page = String::new();
    for (text, fault) in sentences() {
        let yaml = to_yaml(std::slice::from_ref(&fault)).expect("a fault is YAML");
        writeln!(page, "{text}\n  {fault}\n  {fault:#}").unwrap();
        yaml.lines().for_each(|line| writeln!(page, "  | {line}").unwrap());
    }
    snapbox::assert_data_eq!(page, snapbox::file!["golden/canonical.txt"].raw());
}

#[test]
fn mistakes_are_told_as_before() {
    let mut page = String::new();
    for text in recorded("mistakes.txt").split("\n---\n") {
        let text = text.trim_end_matches('\n');
        match read(text) {
            Ok(_) => panic!("nothing is wrong with {text}"),
            Err(errors) => {
                writeln!(page, "{}\n", errors.render(text, "faults", false).trim_end()).unwrap();
            }
        }
    }
    snapbox::assert_data_eq!(page, snapbox::file!["golden/errors.txt"].raw());
}
