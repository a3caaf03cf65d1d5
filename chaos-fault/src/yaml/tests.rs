//! The form against the sentence.

use proptest::prelude::*;

use super::*;
use crate::arbitrary;

fn faults(text: &str) -> Vec<Fault> {
    let read = read(text).unwrap_or_else(|errors| panic!("{}", errors.render(text, "t", false)));
    read.into_iter().map(|sentence| sentence.fault).collect()
}

const TWINS: [(&str, &str); 15] = [
    (
        "drop 10% of flows egress tcp to 10.0.0.0/8 port 5432, 6000-6010 for 5m",
        "{drop: {}, chance: 10%, of: flows, direction: egress, protocol: tcp, \
         to: {networks: [10.0.0.0/8], ports: [5432, 6000-6010]}, for: 5m}",
    ),
    ("corrupt silent every 5th port 53", "{corrupt: {silent: true}, every: 5, ports: [53]}"),
    (
        "delay 100ms jitter 20ms normal from ::1",
        "{delay: {by: 100ms, jitter: 20ms, distribution: normal}, from: {networks: ['::1']}}",
    ),
    (
        "delay 100ms jitter 20ms correlation 25% 10%",
        "{delay: {by: 100ms, jitter: 20ms, correlation: 25%}, chance: 10%}",
    ),
    (
        "drop from pod payments/db, shop/web-0 port 5432",
        "{drop: {}, from: {pods: [payments/db, shop/web-0], ports: [5432]}}",
    ),
    ("delay 1ms, 2ms*3, 40ms egress", "{delay: {oneOf: [1ms, 2ms*3, 40ms]}, direction: egress}"),
    (
        "delay from file latencies.txt from 10.0.0.1 correlation 50%",
        "{delay: {file: latencies.txt, correlation: 50%}, from: {networks: [10.0.0.1]}}",
    ),
    (
        "delay dns by 200ms jitter 20ms for *.a.b",
        "{delay: {by: 200ms, jitter: 20ms, dns: '*.a.b'}}",
    ),
    ("limit 1mbit per flow egress", "{limit: {rate: 1mbit, perFlow: true}, direction: egress}"),
    ("limit 1mbit at most 5 per second", "{limit: {rate: 1mbit}, atMostPerSecond: 5}"),
    (
        "fail openat, read with EIO*3, ENOSPC under /data in container db",
        "{fail: {calls: [openat, read], with: [EIO*3, ENOSPC]}, under: /data, container: db}",
    ),
    ("fail dns with NXDOMAIN for *.a.b", "{failDns: {with: NXDOMAIN, name: '*.a.b'}}"),
    (
        "slow fsync by 50ms after 1m seed 7",
        "{slow: {calls: [fsync], by: 50ms}, after: 1m, seed: 7}",
    ),
    ("kill container in container db", "{killContainer: {}, container: db}"),
    ("shadow skew clock by -2h", "{skewClock: {by: -2h}, shadow: true}"),
];

#[test]
fn a_twin_says_what_its_sentence_says() {
    for (sentence, yaml) in TWINS {
        assert_eq!(faults(yaml), faults(sentence), "{yaml}");
    }
}

#[test]
fn what_was_in_a_file_is_in_the_twin_alone() {
    let mut fault: Fault = "delay dns from file \"my latencies\" for *".parse().unwrap();
    let (path, latencies) = fault.verb.unread_file().unwrap();
    assert_eq!(path, "my latencies");
    *latencies = crate::read_latencies("2ms\n1ms\n2ms").unwrap();
    assert_eq!(fault.verb.unread_file(), None);
    assert_eq!(fault.to_string(), "delay dns from file \"my latencies\" for *");
    let json = serde_json::to_string(&[&fault]).unwrap();
    assert!(json.contains(r#""oneOf":["1ms","2ms*2"],"file":"my latencies""#), "{json}");
    assert_eq!(faults(&json), [fault]);
}

#[test]
fn faults_come_in_lists_wrappers_and_sentences() {
    let expected = faults("drop 10%\nreset; duplicate");
    for text in [
        "- drop: {}\n  chance: 10%\n- reset: {}\n- duplicate: {}\n",
        "faults:\n  - drop: {}\n    chance: 10%\n  - reset; duplicate\n",
        "- drop 10%\n- |\n  reset\n  duplicate\n",
        r#"[{"drop": {}, "chance": "10%"}, {"reset": {}}, "duplicate"]"#,
        "# a comment\n---\n- drop 10%\n- reset\n- duplicate",
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
}

#[test]
fn a_span_covers_its_sentence_inside_yaml() {
    let text = "faults:\n- \"drop 10%; reset\"\n- |\n  limit 1mbit\n  duplicate\n";
    let read = read(text).unwrap();
    let words: Vec<&str> = read.iter().map(|sentence| &text[sentence.span.clone()]).collect();
    assert_eq!(words, ["drop 10%", "reset", "limit 1mbit", "duplicate"]);
}

#[test]
fn every_mistake_of_content_is_reported() {
    let text =
        "- drop: {}\n  chance: 0%\n  for: 5\n- dorp 10%\n- fail: {calls: [raed], with: [EIO]}\n";
    let errors = read(text).unwrap_err();
    let words: Vec<&str> = errors.iter().map(|error| error.word(text)).collect();
    assert_eq!(words, ["0%", "5", "dorp", "raed"]);
    assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn yaml_is_the_inverse_of_itself(faults in proptest::collection::vec(arbitrary::fault(), 1..4)) {
        let yaml = to_yaml(&faults).unwrap();
        let read = read(&yaml).map_err(|errors| errors.render(&yaml, "yaml", false));
        let read = read.map(|read| read.into_iter().map(|s| s.fault).collect::<Vec<_>>());
        prop_assert_eq!(read, Ok(faults), "{}", yaml);
    }

    #[test]
    fn json_is_the_inverse_of_itself(fault in arbitrary::fault()) {
        let json = serde_json::to_string(&fault).unwrap();
        let back: Fault = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &fault, "{}", json);
        prop_assert_eq!(&read(&json).unwrap()[0].fault, &fault, "{}", json);
    }

    #[test]
    fn no_text_is_too_strange(text in "[-a-z0-9%.:{}\\[\\],&*!|>'\"# \\n]{0,60}") {
        let _ = read_yaml(&text).map_err(|errors| errors.render(&text, "test", true));
    }
}
