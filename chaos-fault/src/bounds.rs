//! Reports stay short, and mistakes cheap, whatever was written and however often.

use proptest::prelude::*;

use super::{Errors, Sentence, mistakes::MOST_SHOWN, read, read_latencies, suggest};

/// Bytes of the longest report of one text, as an annotation would have it and with carets.
const LONGEST_REPORT: usize = 64_000;

/// How many pairs of words were compared while the text was read, and what was said.
fn refused(text: &str) -> (usize, Errors) {
    let before = suggest::COMPARED.get();
    let errors = read(text).expect_err("this text is wrong");
    (suggest::COMPARED.get() - before, errors)
}

fn is_short(text: &str, errors: &Errors) {
    let rendered = errors.render(text, "test", true);
    assert!(rendered.len() <= LONGEST_REPORT, "{} bytes", rendered.len());
    assert!(errors.to_string().len() <= LONGEST_REPORT, "{} bytes", errors.to_string().len());
    assert!(serde_json::to_string(errors).unwrap().len() <= LONGEST_REPORT);
    assert!(errors.iter().count() <= MOST_SHOWN);
}

#[test]
fn many_mistakes_are_counted_and_the_first_are_shown() {
    let one = refused("drip").0;
    for (text, mistakes) in [
        ("drip\n".repeat(50_000), 50_000),
        ("drip;".repeat(50_000), 50_000),
        ("- 'drip'\n".repeat(22_000), 22_000),
        (format!("[{}'drip']", "'drip',".repeat(21_999)), 22_000),
        (format!("- |\n{}", "  drip\n".repeat(30_000)), 30_000),
        (format!("- \"{}\"", r"dr\x69p\n".repeat(30_000)), 30_000),
    ] {
        let (compared, errors) = refused(&text);
        assert_eq!(errors.iter().count() + errors.more(), mistakes);
        assert_eq!(compared, MOST_SHOWN * one);
        assert!(errors.to_string().ends_with(&format!("; and {} more", mistakes - MOST_SHOWN)));
        is_short(&text, &errors);
    }
}

#[test]
fn many_mistakes_in_one_fault_are_counted() {
    let one = refused("fail raed with EIO").0;
    let text = format!("{{fail: {{calls: [{}raed], with: [EIO]}}}}", "raed, ".repeat(9_999));
    let (compared, errors) = refused(&text);
    assert_eq!(errors.more(), 10_000 - MOST_SHOWN);
    assert!(compared <= MOST_SHOWN * one, "{compared}");
    is_short(&text, &errors);
    let error = serde_json::from_str::<super::Fault>(
        &text
            .replace("raed", "\"raed\"")
            .replace("EIO", "\"EIO\"")
            .replace("fail", "\"fail\"")
            .replace("calls", "\"calls\"")
            .replace("with", "\"with\""),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("; and 9984 more") && error.len() < LONGEST_REPORT, "{error}");
}

#[test]
fn of_a_long_word_the_ends_are_shown() {
    let word = "openat".repeat(40_000);
    for text in [
        word.clone(),
        format!("fail {word} with EIO"),
        format!("drop {word}"),
        format!("drop for {word}"),
        format!("drop to {word}"),
        format!("drop \"{}\"", "open at ".repeat(30_000)),
        format!("{{drop: {{}}, {word}: 1}}"),
        format!("{{drop: {{}}, direction: {word}}}"),
        format!("{{fail: {{calls: [{word}], with: [EIO]}}}}"),
        format!("drop under /{word}"),
    ] {
        let (compared, errors) = refused(&text);
        assert_eq!(compared, 0, "{errors}");
        assert!(errors.to_string().len() < 1_500, "{errors}");
        assert!(errors.render(&text, "test", false).len() < 2_000);
        is_short(&text, &errors);
    }
}

#[test]
fn a_mark_of_byte_order_is_no_part_of_the_text() {
    for (text, fault, word) in [
        ("\u{feff}drop 10%", "drop 10%", "drop 10%"),
        ("\u{feff}\ndrop 10%", "drop 10%", "drop 10%"),
        ("\u{feff}drop: {}\nchance: 10%", "drop 10%", "drop"),
        ("\u{feff}- drop 10%", "drop 10%", "drop 10%"),
        ("\u{feff}# ü\n- drop: {}", "drop", "drop"),
    ] {
        let sentences =
            read(text).unwrap_or_else(|errors| panic!("{}", errors.render(text, "", false)));
        assert_eq!(sentences[0].fault.to_string(), fault, "{text:?}");
        assert!(text[sentences[0].span.clone()].starts_with(word), "{text:?}");
    }
    for (text, column) in [
        ("\u{feff}dorp 10%", 1),
        ("\u{feff}drop, 10%", 5),
        ("\u{feff}- dorp", 3),
        ("\u{feff}{drop: {}, chanse: 10%}", 12),
    ] {
        let errors = read(text).unwrap_err();
        let error = errors.iter().next().unwrap();
        assert_eq!((error.line, error.column), (1, column), "{errors}");
        assert!(!error.word(text).contains('\u{feff}'), "{errors}");
    }
    assert!(read("\u{feff}").unwrap().is_empty());
    assert_eq!(read_latencies("\u{feff}20ms\n").unwrap().len(), 1);
}

type Reader = fn(&str) -> Result<Vec<Sentence>, Errors>;

/// Some kilobytes of what is likely to be wrong: pieces of the language, each many times or long.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "drop",
            "drip",
            "fail openat with EIO",
            "fail opneat",
            "- ",
            "- 'drip'\n",
            "\n",
            "; ",
            "{drop: {}, chanse: 1}",
            "[",
            "]",
            "{",
            "}",
            "\"",
            "'",
            "|\n  ",
            "\\\n",
            ", ",
            "10%",
            "\u{feff}",
            " under /",
            "to 10.0.0.0/8",
            "ü",
            "\t",
            "#",
            ": ",
            "&a ",
            "*a ",
            "\\x64",
        ])
        .prop_map(str::to_owned),
        "[ -~\n]{1,8}",
        any::<char>().prop_map(String::from),
    ];
    let repeated = (piece, prop_oneof![4 => 1usize..4, 1 => 1usize..800]);
    let pieces = proptest::collection::vec(repeated, 1..12);
    pieces.prop_map(|pieces| {
        let mut text: String = pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect();
        text.truncate(text.floor_char_boundary(8_000));
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_report_is_long(text in text()) {
        let readers: [Reader; 3] = [read, super::read_yaml, super::parse];
        for read in readers {
            if let Err(errors) = read(&text) {
                is_short(&text, &errors);
            }
        }
        if let Err(errors) = read_latencies(&text) {
            is_short(&text, &errors);
        }
    }
}
