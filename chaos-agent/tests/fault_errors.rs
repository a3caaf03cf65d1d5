//! Bad texts, each with its one error: the word that is marked and what is said about it.

use chaos_agent::fault::read;

/// (text, marked word, part of the message, part of the help or "")
type Row = (&'static str, &'static str, &'static str, &'static str);

const SENTENCES: &[Row] = &[
    // The verb.
    ("dorp 10% egress", "dorp", "not a verb", "did you mean `drop`?"),
    ("10% drop", "10%", "not a verb", "begins with one of drop"),
    ("shadow", "shadow", "a verb is missing", ""),
    ("shadow shadow drop", "shadow", "given twice", "before the verb"),
    ("drop shadow", "shadow", "does not belong", "before the verb"),
    ("skew by +1d", "by", "expected `clock`", "`skew clock by +1d`"),
    // Words and marks.
    ("drop egres", "egres", "does not belong", "did you mean `egress`?"),
    ("drop \"egress\"", "\"egress\"", "does not belong", "quotes are for values"),
    ("drop \"egress", "\"egress", "not closed", "closing quote"),
    ("drop , egress", ",", "found a comma", ""),
    ("drop 443", "443", "does not belong", "`port 443`"),
    ("drop 10.0.0.0/8", "10.0.0.0/8", "does not belong", "`to 10.0.0.0/8`"),
    ("fail read with EIO /data", "/data", "does not belong", "`under /data`"),
    ("drop 5m", "5m", "does not belong", "`for 5m`"),
    ("drop openat", "openat", "does not belong", "`fail`, `slow` and `kill`"),
    ("drop of flows", "of", "does not belong", "`10% of flows`"),
    // Twice.
    ("drop egress 10% egress", "egress", "the direction is given twice", "at most once"),
    ("drop 10% every 5th", "every 5th", "the chance is given twice", "at most once"),
    ("drop tcp udp", "udp", "the protocol is given twice", ""),
    ("drop for 5m for 6m", "for 6m", "`for` is given twice", ""),
    ("drop seed 1 seed 2", "seed 2", "`seed` is given twice", ""),
    ("drop at most 1 at most 2", "at most 2", "`at most` is given twice", ""),
    ("delay 1s jitter 1ms jitter 2ms", "jitter 2ms", "`jitter` is given twice", ""),
    // Chance.
    ("drop 0%", "0%", "never do anything", "shadow"),
    ("drop 100.1%", "100.1%", "more than always", "100%"),
    ("drop 0.0000001%", "0.0000001%", "finer", "six decimals"),
    ("drop x%", "x%", "not a percentage", "for example"),
    ("drop 0.1", "0.1", "does not belong", "`10%`"),
    ("drop 10% of", "of", "missing after `of`", ""),
    ("drop 10% of bananas", "bananas", "not something", "packets, flows, calls"),
    ("drop 10% of calls", "calls", "about packets, not calls", "of flows"),
    ("kill accept 1% of flows", "flows", "about calls, not packets", "of calls"),
    ("drop every 1", "1", "is always", ""),
    ("drop every 0th", "0th", "never", ""),
    ("drop every 5st", "5st", "not an ordinal", "`5th`"),
    ("drop every", "every", "an ordinal number is missing", ""),
    ("drop every 5th of flows", "flows", "cannot be counted off", "20% of flows"),
    // Peers.
    ("drop to", "to", "missing after `to`", ""),
    ("drop to port", "port", "a port is missing", ""),
    ("drop to db.example.com", "db.example.com", "not an address", "not looked up"),
    ("drop to 10.0.0.1/8", "10.0.0.1/8", "bits set", "`10.0.0.0/8`"),
    ("drop to 10.0.0.0/33", "10.0.0.0/33", "not a prefix length", "0 to 32"),
    ("drop to 10.0.0.1:5432", "10.0.0.1:5432", "not an address", "`10.0.0.1 port 5432`"),
    ("drop to [::1]", "[::1]", "not an address", "without brackets"),
    ("drop to ::ffff:10.0.0.1", "::ffff:10.0.0.1", "never appears", "`10.0.0.1/32`"),
    ("drop to 10.0.0.0/8,", ",", "missing after `,`", ""),
    ("drop to 10.0.0.0/8 to ::1", "to ::1", "given twice", "one list"),
    ("drop to 10.0.0.0/8 from ::1", "from ::1", "only one peer", "two sentences"),
    ("drop to 10.0.0.0/8 tcp port 443", "port 443", "apart from its address", "right behind"),
    ("drop port 0", "0", "does not exist", "1 to 65535"),
    ("drop port 65536", "65536", "does not exist", "1 to 65535"),
    ("drop port 90-80", "90-80", "backwards", "`80-90`"),
    ("drop port http", "http", "not a port", "a number"),
    ("drop icmp port 53", "port 53", "icmp has no ports", "`tcp` or `udp`"),
    // Times and numbers.
    ("drop for", "for", "a duration is missing", ""),
    ("drop for 0s", "0s", "no time at all", "longer than zero"),
    ("drop for 5", "5", "no unit", "`5ms`"),
    ("drop for 5x", "5x", "not a unit of time", "units are"),
    ("drop for 1m1h", "1m1h", "out of order", "largest first"),
    ("drop after -5m", "-5m", "not a duration", "`100ms`"),
    ("drop for 40000d", "40000d", "too long", "36500d"),
    ("drop at most 0", "0", "never", ""),
    ("drop at least 5", "least", "expected `most`", "`at most 100`"),
    ("drop at most 5 per minute", "minute", "expected `second`", "per second"),
    ("drop at most 5000000000 per second", "5000000000", "too many", "at most"),
    ("drop seed x", "x", "whole number", "`seed 100`"),
    ("drop seed 99999999999999999999", "99999999999999999999", "too large", ""),
    // Places.
    ("drop in bursts of 10", "in bursts of 10", "need a chance below 100%", "5% in bursts of 10"),
    ("drop 5% in bursts of 1", "1", "at least 2 packets", "leave `in bursts` out"),
    ("drop 5% in bursts 10", "10", "expected `of`", "in bursts of 10"),
    ("drop 99% in bursts of 9", "in bursts of 9", "no room between bursts", "99 at least"),
    ("drop 5% of flows in bursts of 9", "in bursts of 9", "bursts are of packets", "leave"),
    ("drop in db", "db", "expected `container`", "`in container NAME`"),
    ("drop in container DB", "DB", "not the name of a container", "a-z"),
    ("drop under /data", "under /data", "packets, which have no path", "`fail`"),
    ("fail read with EIO under data", "data", "not an absolute path", "from the root"),
    ("fail read with EIO under /a/../b", "/a/../b", "`..`", "leads to"),
    ("fail bind with EIO under /data", "under /data", "`bind` has no path", "`port`"),
    // Parts of verbs.
    ("drop silent", "silent", "`drop` does not take `silent`", "`corrupt`"),
    ("drop with EIO", "with EIO", "does not take `with`", "`fail`"),
    ("delay egress", "delay", "needs to know how long", "for example"),
    ("delay 100ms jitter 200ms", "jitter 200ms", "more than the delay", "`jitter 100ms`"),
    ("delay 100ms normal", "normal", "without jitter", "jitter 20ms normal"),
    ("reorder 5%", "reorder", "needs to know by how much", "for example"),
    ("limit egress", "limit", "needs a rate", "for example"),
    ("limit 1mbps", "1mbps", "not a unit of rate", "`1mbit`"),
    ("limit 1mbit per packet", "packet", "expected `flow`", "`at most 10 per second`"),
    ("drop per flow", "per flow", "does not take `per flow`", "`limit`"),
    ("limit 0bit", "0bit", "nothing through", "`drop`"),
    ("reset udp", "udp", "no connections to reset", "tcp"),
    ("skew clock", "skew clock", "needs to know how far", "for example"),
    ("skew clock by 0s", "0s", "no time at all", ""),
    ("skew clock by +1d 10%", "10%", "does not take a chance", "as a whole"),
    // Calls, errnos, answers.
    ("fail with EIO", "fail", "needs a system call", "for example"),
    ("fail connect", "fail", "needs an errno", "for example"),
    ("fail opneat with EIO", "opneat", "not a system call", "did you mean `openat`?"),
    ("fail openat with EOI", "EOI", "not the name of an errno", "did you mean `EIO`?"),
    ("fail openat with 28", "28", "not the name of an errno", "`ENOSPC`"),
    ("fail openat with EIO*0", "EIO*0", "not a weight", "1 to 1000"),
    ("fail openat with EIO, EIO", "with EIO, EIO", "in the list twice", "`EIO*2`"),
    ("fail openat, openat with EIO", "openat, openat", "in the list twice", "each call once"),
    ("fail openat read with EIO", "read", "does not belong", "commas"),
    ("fail openat with EIO egress", "egress", "have no direction", "`sendto`"),
    ("fail openat with EIO tcp", "tcp", "`openat` has no protocol", "`connect`"),
    ("fail openat with EIO port 80", "port 80", "`openat` has no peer", "`connect`"),
    ("fail socket with EMFILE to ::1", "to ::1", "`socket` has no peer", "`connect`"),
    ("fail connect with EIO icmp", "icmp", "cannot be chosen by icmp", "`tcp` or `udp`"),
    ("fail dns with NXDOMAIN", "fail dns", "needs a name", "for example"),
    ("fail dns with EIO for *", "EIO", "not a DNS answer", "NXDOMAIN"),
    ("fail dns with REFUSED for a..b", "a..b", "not a DNS name", "for example"),
    ("fail dns with REFUSED for * ingress", "ingress", "has no direction", "leave it out"),
    ("drop to pod db", "db", "no namespace", "`pod shop/db`"),
    ("drop to pod a/B", "a/B", "not the name of a pod", "`pod payments/db-0`"),
    ("drop to pod", "pod", "a pod is missing", ""),
    ("delay 1ms, 2ms, 1ms", "1ms, 2ms, 1ms", "in the list twice", "`1ms*2`"),
    ("delay 1ms, 2ms*0", "2ms*0", "not a weight", "1 to 1000"),
    ("delay 1ms, 2ms jitter 1ms", "jitter 1ms", "do not take jitter", "`delay 1ms, 2ms*3, 40ms`"),
    ("delay 1ms, 2ms normal", "normal", "do not take a distribution", ""),
    ("delay 1ms from file a.txt", "from file a.txt", "given twice", ""),
    ("delay from file", "file", "the name of a file is missing", ""),
    ("reorder from file a.txt", "file", "not an address", ""),
    ("drop correlation 5%", "correlation 5%", "does not take a correlation", "`delay`"),
    ("delay 1s jitter 1s correlation 0%", "0%", "never", ""),
    ("delay 1s jitter 1s correlation 5", "5", "not a percentage", "`5%`"),
    ("delay 1s jitter 1s 5% of flows correlation 5%", "correlation 5%", "keeps its delay", "leave"),
    ("delay dns by 1s", "delay dns", "needs a name", "for example"),
    ("delay dns for *", "delay dns", "needs to know how long", "for example"),
    ("delay dns by 1s for * ingress", "ingress", "has no direction", "leave it out"),
    ("delay dns by 1s for * icmp", "icmp", "does not run over icmp", "`udp`"),
    // Only the sentence that is wrong.
    ("drop 10%\nreset ; drop 0% # all\nduplicate", "0%", "never do anything", ""),
];

const YAML: &[Row] = &[
    ("drop: {}\nchanse: 10%", "chanse", "not a field", "did you mean `chance`?"),
    ("drop: {rate: 1mbit}", "rate", "not a field", "write `{}`"),
    ("drop: 10%", "10%", "expected fields", "in braces"),
    ("- delay: {}", "{", "field `by` is missing", ""),
    ("fail: {calls: [openat]}", "calls", "field `with` is missing", ""),
    ("- chance: 10%", "chance:", "the verb is missing", "`drop: {}`"),
    ("- drop:", "drop:", "the verb is missing", "`drop: {}`"),
    ("{drop: {}, drop: {}}", "drop", "given twice", ""),
    ("- {drop: {}, reset: {}}", "{", "both `drop` and `reset`", "a fault for each"),
    ("{drop: {}, chance: 10}", "10", "not a percentage", "`10%`"),
    ("{drop: {}, chance: 10%, every: 5}", "5", "both `chance` and `every`", ""),
    ("{drop: {}, every: 5, of: flows}", "flows", "cannot be counted off", ""),
    ("{drop: {}, direction: outgoing}", "outgoing", "not a direction", "egress, ingress"),
    ("{drop: {}, protocol: tpc}", "tpc", "not a protocol", "did you mean `tcp`?"),
    ("{drop: {}, to: {ports: [0]}}", "0", "does not exist", "1 to 65535"),
    ("{drop: {}, to: {networks: [10.0.0.1/8]}}", "10.0.0.1/8", "bits set", "`10.0.0.0/8`"),
    ("{drop: {}, to: {}}", "{", "neither network nor port", ""),
    ("{drop: {}, to: 10.0.0.0/8}", "10.0.0.0/8", "expected fields", ""),
    ("{drop: {}, to: {ports: [1]}, ports: [2]}", "[", "only one peer", "a fault for each"),
    ("{drop: {}, for: 300}", "300", "no unit", "`300s`"),
    ("{drop: {}, atMost: 0}", "0", "never", ""),
    ("{drop: {}, seed: -1}", "-1", "whole number", ""),
    ("{drop: {}, under: /x}", "/x", "have no path", ""),
    ("{drop: {}, shadow: maybe}", "maybe", "expected `true` or `false`", ""),
    ("{delay: {by: 1s, jitter: 2s}}", "2s", "more than the delay", ""),
    (
        "{drop: {}, to: {pods: [a/b], networks: [::1]}}",
        "{",
        "networks and pods",
        "a fault for each",
    ),
    ("{delay: {oneOf: [1s]}}", "[", "at least two", "`delay 1ms`"),
    ("{delay: {by: 1s, file: a.txt}}", "a.txt", "do not take one more", ""),
    ("{delay: {oneOf: [1s, 2s], jitter: 1s}}", "1s", "do not take jitter", ""),
    ("{delay: {by: 1s, dns: a..b}}", "a..b", "not a DNS name", "for example"),
    ("{fail: {calls: openat, with: [EIO]}}", "openat", "expected a list", "[a, b]"),
    ("{fail: {calls: [], with: [EIO]}}", "[", "a system call is missing", ""),
    ("{fail: {calls: [raed], with: [EIO]}}", "raed", "not a system call", "`read`"),
    ("{failDns: {with: REFUSED, name: *.a.b}}", "*.a.b", "needs quotes", "another meaning"),
    ("faults: {drop: {}}", "{", "expected a list", ""),
    ("faults: [drop]\nextra: 1", "extra", "not a field", "`faults`"),
    ("- dorp 10%", "dorp", "not a verb", "did you mean `drop`?"),
    ("- |\n  drop\n  drop 0%\n", "0%", "never do anything", ""),
    ("- 5", "5", "expected a fault", ""),
    ("- [drop]", "[", "expected a fault", ""),
    ("- drop\n---\n- drop", "-", "more than one YAML document", "one document"),
    ("- {drop: {}", "{drop:", "unclosed bracket", ""),
    ("- \"drop 10%", "\"drop", "unclosed quote", ""),
];

fn has_one_error(&(text, word, message, help): &Row) {
    let errors = read(text).expect_err(text);
    let rendered = errors.render(text, "test", false);
    let diagnostics: Vec<_> = errors.iter().collect();
    let [diagnostic] = diagnostics[..] else { panic!("not one error:\n{rendered}") };
    assert_eq!(diagnostic.word(text), word, "\n{rendered}");
    assert!(diagnostic.message.contains(message), "`{message}` is not in:\n{rendered}");
    let said = diagnostic.help.as_deref().unwrap_or_default();
    assert!(said.contains(help), "`{help}` is not in:\n{rendered}");
    assert!(rendered.contains(&diagnostic.message), "{rendered}");
    assert!(rendered.contains('^'), "no caret:\n{rendered}");
}

#[test]
fn every_bad_sentence_has_one_error_at_its_word() {
    SENTENCES.iter().for_each(has_one_error);
}

#[test]
fn every_bad_yaml_has_one_error_at_its_word() {
    YAML.iter().for_each(has_one_error);
}
