//! `docs/faults.md` is true: every sentence and every YAML on the page is read here.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use chaos_fault::{
    Errors, Fault, HowOften, Verb, VerbSummary, parse, read, read_yaml, to_yaml, verbs,
};

/// A fenced block: its label, its text, and the line it begins at.
struct Fence {
    label: String,
    text: String,
    line: usize,
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
    fs::read_to_string(path).expect("docs/faults.md")
}

/// The page's fences, and its lines outside of them.
fn split(page: &str) -> (Vec<Fence>, Vec<&str>) {
    let (mut fences, mut prose) = (Vec::new(), Vec::new());
    let mut open: Option<Fence> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(label), None) => {
                let label = label.trim().to_owned();
                open = Some(Fence { label, text: String::new(), line: index + 1 });
            }
            (Some(_), Some(fence)) => fences.push(fence),
            (None, Some(mut fence)) => {
                fence.text.push_str(line);
                fence.text.push('\n');
                open = Some(fence);
            }
            (None, None) => {
                assert!(!line.starts_with("    "), "indented code is not tested, fence it: {line}");
                prose.push(line);
            }
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    (fences, prose)
}

fn faults(
    fence: &Fence,
    read: fn(&str) -> Result<Vec<chaos_fault::Sentence>, Errors>,
) -> Vec<Fault> {
    let read = read(&fence.text).unwrap_or_else(|errors| {
        panic!("line {}:\n{}", fence.line, errors.render(&fence.text, "docs/faults.md", false))
    });
    read.into_iter().map(|sentence| sentence.fault).collect()
}

/// The only error of a text.
fn only_error(text: &str, errors: Errors) -> String {
    assert_eq!(errors.iter().count(), 1, "{text}: {errors}");
    errors.iter().next().expect("one error").message.clone()
}

/// The page with the table of verbs as the rows have it.
fn with_table(page: &str) -> String {
    const END: &str = "<!-- end of the table -->";
    let begin = page.find("<!-- The table is generated").expect("where the table begins");
    let begin = begin + page[begin..].find('\n').expect("a line") + 1;
    let end = page.find(END).expect("where the table ends");
    let mut table =
        "\n| verb | done to | what happens | its own parts | for example |\n|---|---|---|---|---|\n".to_owned();
    for VerbSummary { words, summary, example, subject, parts, .. } in verbs() {
        let (link, parts) = (words.replace(' ', "-"), parts.join(", "));
        let row = format!("| [{words}](#{link}) | {subject} | {summary} | {parts} | `{example}` |");
        writeln!(table, "{}", row.replace("  ", " ")).expect("a string");
    }
    format!("{}{table}\n{}", &page[..begin], &page[end..])
}

#[test]
fn the_table_of_verbs_is_that_of_the_rows() {
    let table = with_table(&page());
    snapbox::assert_data_eq!(table, snapbox::file!["../../docs/faults.md"].raw());
}

#[test]
fn every_fence_of_the_page_says_what_it_says_it_does() {
    let page = page();
    let (fences, _) = split(&page);
    let mut before: Vec<Fault> = Vec::new();
    for fence in &fences {
        match fence.label.as_str() {
            "fault" => {
                before = faults(fence, parse);
                for fault in &before {
                    assert_eq!(fault.to_string().parse().as_ref(), Ok(fault));
                }
            }
            "fault-canonical" => {
                let printed: Vec<String> = before.iter().map(ToString::to_string).collect();
                assert_eq!(printed.join("\n"), fence.text.trim_end(), "line {}", fence.line);
            }
            "yaml" | "json" => {
                let twins = faults(fence, read_yaml);
                assert_eq!(twins, before, "line {}: not the sentences above it", fence.line);
                let again = to_yaml(&twins).expect("faults are YAML");
                let again = read(&again).expect("its own YAML").into_iter();
                assert_eq!(again.map(|sentence| sentence.fault).collect::<Vec<_>>(), twins);
            }
            "fault-error" => {
                for line in fence.text.lines() {
                    let (sentence, expected) = line.split_once('#').expect("what its error says");
                    let errors = parse(sentence).expect_err(sentence);
                    assert_eq!(only_error(sentence, errors), expected.trim(), "{sentence}");
                }
            }
            "yaml-error" => {
                let first = fence.text.lines().next().and_then(|line| line.strip_prefix("# "));
                let errors = read_yaml(&fence.text).expect_err(&fence.text);
                assert_eq!(only_error(&fence.text, errors), first.expect("what its error says"));
            }
            "rendered" => {
                let sentence = fence.text.lines().find_map(|line| line.strip_prefix("1 | "));
                let sentence = sentence.expect("the sentence that is wrong");
                let errors = parse(sentence).expect_err(sentence);
                assert_eq!(errors.render(sentence, "--fault", false), fence.text.trim_end());
            }
            label => panic!("line {}: nobody tests ```{label}", fence.line),
        }
    }
}

/// Sentences in running text: code that begins with a verb and goes on.
#[test]
fn sentences_in_running_text_are_read_too() {
    let page = page();
    let (_, prose) = split(&page);
    for line in prose {
        for code in line.split('`').skip(1).step_by(2) {
            let first = code.split(' ').next().unwrap_or_default();
            if code.contains(' ') && verbs().any(|verb| verb.words.starts_with(first)) {
                parse(code).unwrap_or_else(|errors| panic!("{line}\n{errors}"));
            }
        }
    }
}

#[test]
fn the_page_shows_every_verb_and_every_clause_in_both_forms() {
    let page = page();
    let (fences, _) = split(&page);
    for label in ["fault", "yaml"] {
        let shown: Vec<Fault> = fences
            .iter()
            .filter(|fence| fence.label == label)
            .flat_map(|fence| faults(fence, read))
            .collect();
        let shows = |what: fn(&Fault) -> bool| shown.iter().any(what);
        let words: BTreeSet<&str> = shown.iter().map(|fault| verb(&fault.verb)).collect();
        if label == "fault" {
            assert_eq!(words, all_words());
        }
        assert!(shows(|fault| fault.direction.is_some()), "{label}: direction");
        let is_window = |fault: &Fault| matches!(fault.chance.how, HowOften::Window { .. });
        assert!(shows(is_window), "{label}: window");
        let has_queue = |fault: &Fault| matches!(fault.verb, Verb::Limit { queue: Some(_), .. });
        assert!(shows(has_queue), "{label}: queue");
        assert!(shows(|fault| fault.protocol.is_some()), "{label}: protocol");
        assert!(shows(|fault| fault.peer.is_some()), "{label}: peer");
        assert!(shows(|fault| fault.under.is_some()), "{label}: under");
        assert!(shows(|fault| fault.container.is_some()), "{label}: container");
        assert!(shows(|fault| fault.duration.is_some()), "{label}: for");
        assert!(shows(|fault| fault.after.is_some()), "{label}: after");
        assert!(shows(|fault| fault.at_most.is_some()), "{label}: at most");
        assert!(shows(|fault| fault.at_most_per_second.is_some()), "{label}: per second");
        assert!(shows(|fault| fault.except.is_some()), "{label}: except");
        assert!(shows(|fault| fault.seed.is_some()), "{label}: seed");
        assert!(shows(|fault| fault.until.is_some()), "{label}: until");
        assert!(shows(|fault| fault.name.is_some()), "{label}: as");
        assert!(shows(|fault| fault.guarded), "{label}: guarded");
        assert!(shows(|fault| fault.shadow), "{label}: shadow");
    }
}

fn all_words() -> BTreeSet<&'static str> {
    verbs().map(|verb| verb.words).collect()
}

/// No arm for the rest: a new verb must be named here, and shown on the page.
fn verb(verb: &Verb) -> &'static str {
    match verb {
        Verb::Drop => "drop",
        Verb::Corrupt { .. } => "corrupt",
        Verb::Delay(_) => "delay",
        Verb::DelayDns { .. } => "delay dns",
        Verb::Duplicate => "duplicate",
        Verb::Reorder { .. } => "reorder",
        Verb::Limit { .. } => "limit",
        Verb::Reset => "reset",
        Verb::Fail { .. } => "fail",
        Verb::FailDns { .. } => "fail dns",
        Verb::Slow { .. } => "slow",
        Verb::Kill { .. } => "kill",
        Verb::KillContainer => "kill container",
        Verb::SkewClock { .. } => "skew clock",
    }
}
