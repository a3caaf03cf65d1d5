//! The sentences of the design, the properties of the language.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    arbitrary,
    model::{Direction, HowOften, Side, Unit, Verb},
};

fn one(text: &str) -> Fault {
    text.parse().unwrap_or_else(|errors: Errors| panic!("{}", errors.render(text, "test", false)))
}

#[test]
fn canonical_sentences_print_as_they_were_written() {
    for text in [
        "drop 10% egress tcp to 10.0.0.0/8 port 5432 for 5m",
        "drop 5% of flows ingress udp port 53",
        "delay 100ms jitter 20ms normal egress to port 443 for 2m",
        "corrupt 1% egress",
        "corrupt silent 1% egress udp",
        "duplicate 2%",
        "reorder by 10ms 5%",
        "limit 1mbit egress",
        "reset 10% of flows tcp to port 6379",
        "fail connect with ECONNREFUSED 25% to 10.0.0.0/8 port 5432",
        "fail openat, read with EIO 5% under /data in container db",
        "fail write, fsync with ENOSPC*3, EIO under /var/lib/postgresql",
        "slow fsync by 50ms jitter 10ms",
        "fail dns with NXDOMAIN for *.example.com for 5m",
        "kill accept 1%",
        "kill container in container db until 2026-11-28T10:14:00Z guarded",
        "skew clock by +1d",
        "shadow drop 100% of flows from 10.0.0.0/8, 2001:db8::/32 port 80, 443, 8000-8080",
        "drop every 21st after 1m for 1h30m at most 100 at most 5 per second seed 7",
        r#"fail openat with EIO under "/a b\"c""#,
    ] {
        assert_eq!(one(text).to_string(), text);
    }
}

#[test]
fn clauses_stand_in_any_order_and_case() {
    let written = one("drop 10% of flows egress tcp to 10.0.0.0/8 port 5432 for 5m seed 3");
    let shuffled = one("DROP Seed 3 For 5m TO 10.0.0.0/8 Port 5432 TCP 10% OF Flows EGRESS");
    assert_eq!(written, shuffled);
    assert_eq!(one("kill 1% of calls accept"), one("kill accept 1%"));
    assert_eq!(one("delay 10% by 5ms"), one("delay 5ms 10%"));
    assert_eq!(
        one("fail dns for 5m for a.example with REFUSED"),
        one("fail dns with REFUSED for a.example for 5m")
    );
}

#[test]
fn sentences_keep_their_places() {
    let text = "duplicate 2% ; reorder 5% by 10ms ;\n# nothing\n  limit 1mbit egress # slow\n";
    let sentences = parse(text).unwrap();
    let words: Vec<&str> = sentences.iter().map(|s| &text[s.span.clone()]).collect();
    assert_eq!(words, ["duplicate 2%", "reorder 5% by 10ms", "limit 1mbit egress"]);
    assert_eq!(parse(" \n# only a comment\n;;"), Ok(vec![]));
}

#[test]
fn a_sentence_means_what_it_says() {
    let fault = one("shadow drop every 5th port 53,50-52 at most 9 for 90s");
    assert_eq!(fault.verb, Verb::Drop);
    assert_eq!(fault.chance, crate::Chance { how: HowOften::EveryNth(5), of: Unit::Packets });
    let peer = fault.peer.as_ref().unwrap();
    assert_eq!((peer.side, peer.ports.len()), (Side::Either, 1));
    assert_eq!((peer.ports[0].first, peer.ports[0].last), (50, 53));
    assert_eq!(fault.duration, Some(Duration::from_secs(90)));
    assert_eq!(fault.at_most, Some(9));
    assert!(fault.shadow);
    assert_eq!(one("drop to 10.0.0.1").directions(), [Direction::Egress]);
    assert_eq!(one("skew clock by -2h").verb, Verb::SkewClock { offset_ns: -7_200_000_000_000 });
    assert_eq!(one("drop 100%"), one("drop"));
}

#[test]
fn every_bad_sentence_is_reported() {
    let text = "dorp; drop 10%\ndrop 0% ; fail opneat with EIO";
    let errors = parse(text).unwrap_err();
    let words: Vec<&str> = errors.iter().map(|error| error.word(text)).collect();
    assert_eq!(words, ["dorp", "0%", "opneat"]);
}

#[test]
fn one_fault_is_one_sentence() {
    assert!("".parse::<Fault>().unwrap_err().to_string().contains("no fault"));
    assert!("drop; drop".parse::<Fault>().unwrap_err().to_string().contains("only one"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn printing_is_the_inverse_of_parsing(fault in arbitrary::fault()) {
        prop_assert_eq!(check(&fault), []);
        let text = fault.to_string();
        prop_assert_eq!(text.parse::<Fault>(), Ok(fault), "{}", text);
    }

    #[test]
    fn no_text_is_too_strange(text in "[a-z0-9%.:/*,;#\"'+ \\nü-]{0,80}") {
        let _ = parse(&text).map_err(|errors| errors.render(&text, "test", true));
    }

    #[test]
    fn no_order_of_words_is_too_strange(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "shadow", "drop", "delay", "fail", "skew", "clock", "dns", "with", "EIO", "openat",
            "10%", "of", "flows", "calls", "every", "5th", "the", "first", "to", "from", "10.0.0.0/8", "port",
            "80", "for", "5m", "at", "most", "per", "second", "under", "/a", "in", "container",
            ",", "by", "jitter", "queue", "50ms", "3rd", "6", "normal", "silent", "seed", ";", "\"",
        ]), 0..12,
    )) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(sentences) => for sentence in sentences {
                prop_assert_eq!(sentence.fault.to_string().parse(), Ok(sentence.fault));
            },
            Err(errors) => for error in &errors {
                prop_assert!(!error.word(&text).is_empty(), "{}", text);
            },
        }
    }
}
