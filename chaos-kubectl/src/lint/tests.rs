//! What is said of files with mistakes, whole.

use snapbox::{assert_data_eq, str};

use super::*;

const GOOD: &str = include_str!("../../../manifests/samples/experiment.yaml");
const RUN: &str = include_str!("../../../manifests/samples/run.yaml");

fn report(text: &str) -> String {
    let checked = Checked::of(text);
    let mistakes = checked.mistakes.iter().map(|one| render(one, text, "x.yaml", false));
    mistakes.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn samples_have_no_mistakes_and_every_rule_can_be_evaluated() {
    for text in [GOOD, RUN] {
        let checked = Checked::of(text);
        assert_eq!((checked.mistakes.as_slice(), checked.documents.len()), (&[][..], 1));
        for document in &checked.documents {
            assert_evaluated(document);
        }
    }
    // One object that has every field of which a rule speaks.
    let full = "apiVersion: chaos-agent.dev/v1alpha1
kind: Run
metadata: {generateName: full-}
spec:
  inline:
    targets:
      web: {pods: {matchExpressions: [{key: a, operator: In, values: [b]}]}, pick: 3}
      db: {pods: {}, pick: 50%}
    limits: {duration: 5m}
    steps:
    - {name: a, timeout: 10s, fault: {target: web, do: drop, for: 1m}}
    - {name: b, wait: {for: 1m}}
";
    let checked = Checked::of(full);
    assert_eq!(checked.mistakes, []);
    assert_evaluated(&checked.documents[0]);
}

/// Every rule holds. The rule about `pick` asks for a type, which cannot be done here: the controller's own check of it
/// is made instead.
fn assert_evaluated(document: &Document) {
    let errors =
        rules::evaluate(document).err().map(|errors| errors.into_vec()).unwrap_or_default();
    for error in errors {
        assert!(error.rule.contains("type(self.pick)"), "{error:#?}");
    }
}

#[test]
fn mistakes_about_probes_have_their_places() {
    let text = "\
apiVersion: chaos-agent.dev/v1alpha1
kind: Experiment
metadata: {name: slow, namespace: shop}
spec:
  probes:
  - name: home
    http: {url: 'http://$(host)/'}
  - name: errors
    prometheus: {query: up}
    expect: valeu < 0.05
  - name: errors
    tcp: {address: 'db:5432'}
    every: 500ms
  steps:
  - name: held
    if: probes.home.ok &&
    check: {probes: [home, cart], for: 1m}
";
    assert_data_eq!(
        report(text),
        str![[r#"
error: probe home: `$(host)` is no parameter; there are: none
 --> x.yaml:6:5
  |
6 |   - name: home
  |     ^^^^

error: probe errors: expect: `valeu` is not known; there are `value`, `items`, `baseline`
  --> x.yaml:10:13
   |
10 |     expect: valeu < 0.05
   |             ^^^^^^^^^^^^

error: spec.probes[2]: every must be 1s to 10m
  --> x.yaml:11:5
   |
11 |   - name: errors
   |     ^^^^

error: probe errors: the name is there twice; names of probes must differ
  --> x.yaml:11:11
   |
11 |   - name: errors
   |           ^^^^^^

error: step held: check: cart is no probe of the experiment; there are: errors, home
  --> x.yaml:15:5
   |
15 |   - name: held
   |     ^^^^

error: step held: if: it cannot be read: ERROR: <input>:1:18: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
       | probes.home.ok &&
       | .................^
  --> x.yaml:16:9
   |
16 |     if: probes.home.ok &&
   |         ^^^^^^^^^^^^^^^^^
"#]]
    );
}

#[test]
fn every_mistake_has_its_place() {
    let text = "\
apiVersion: chaos-agent.dev/v1alpha1
kind: Experiment
metadata: {name: slow, namespace: shop}
spec:
  params: {latency: 200ms}
  targets:
    web:
      pods: {matchLabels: {app: web}}
      wehre: age > duration('5m')
      pick: 150%
    db:
      pods: {}
      where: pods.metadata.name == 'x'
  limits: {share: 30}
  steps:
  - name: slow
    fault:
      target: web
      do: |
        delay $(latency) egress tcp
        dorp 10 % egress
      for: 5m
  - name: slow
    fault: {target: cache, do: delay $(latncy), for: 2h}
  - name: both
    fault: {target: db, do: shadow drop, for: soon}
    wait: {for: 1m}
";
    assert_data_eq!(
        report(text),
        str![[r#"
error: spec: names of steps must differ
 --> x.yaml:4:1
  |
4 | spec:
  | ^^^^

error: `spec.targets.web.wehre` is no field
 --> x.yaml:9:7
  |
9 |       wehre: age > duration('5m')
  |       ^^^^^
  |
  = help: did you mean `where`?

error: target web: pick: `150%` is no amount; write a number from 1 on, a share such as `50%`, a range such as `10%-30%`, or `all`
  --> x.yaml:10:13
   |
10 |       pick: 150%
   |             ^^^^

error: target db: where: `pods` is not known; there are `pod`, `age`
  --> x.yaml:13:14
   |
13 |       where: pods.metadata.name == 'x'
   |              ^^^^^^^^^^^^^^^^^^^^^^^^^

error: spec.limits.share: 30 stands where a text must
  --> x.yaml:14:19
   |
14 |   limits: {share: 30}
   |                   ^^
   |
   = help: write it with a unit, such as `30%`

error: `dorp` is not a verb
  --> x.yaml:21:9
   |
21 |         dorp 10 % egress
   |         ^^^^
   |
   = help: did you mean `drop`?

error: spec.steps[1].fault: for must be longer than nothing and at most 1h
  --> x.yaml:24:5
   |
24 |     fault: {target: cache, do: delay $(latncy), for: 2h}
   |     ^^^^^

error: step slow: target cache is not there
  --> x.yaml:24:21
   |
24 |     fault: {target: cache, do: delay $(latncy), for: 2h}
   |                     ^^^^^

error: step slow: `$(latncy)` is no parameter; there are: latency
  --> x.yaml:24:38
   |
24 |     fault: {target: cache, do: delay $(latncy), for: 2h}
   |                                      ^^^^^^^^^

error: spec.steps[2]: a step must have exactly one of fault, pods, check and wait
  --> x.yaml:25:5
   |
25 |   - name: both
   |     ^^^^

error: step both: `do` has `shadow`, which the controller writes itself; make a Run with `mode: Shadow`
  --> x.yaml:26:29
   |
26 |     fault: {target: db, do: shadow drop, for: soon}
   |                             ^^^^^^^^^^^

error: spec.steps[2].fault.for: `soon` has not the form that it must have
  --> x.yaml:26:47
   |
26 |     fault: {target: db, do: shadow drop, for: soon}
   |                                               ^^^^
   |
   = help: write it such as `5m`
"#]]
    );
}

#[test]
fn runs_are_checked_with_the_experiment_beside_them() {
    let text = format!(
        "{GOOD}---
apiVersion: chaos-agent.dev/v1alpha1
kind: Run
metadata: {{generateName: slow-payments-, namespace: shop}}
spec: {{experiment: slow-payments, params: {{latncy: 1s}}, mode: Shadwo, halt: nope}}
---
apiVersion: chaos-agent.dev/v1alpha1
kind: Run
metadata: {{}}
spec: {{}}
"
    );
    assert_data_eq!(
        report(&text),
        str![[r#"
error: the parameter latncy is not one of the experiment's
  --> x.yaml:43:44
   |
43 | spec: {experiment: slow-payments, params: {latncy: 1s}, mode: Shadwo, halt: nope}
   |                                            ^^^^^^
   |
   = help: did you mean `latency`?

error: spec.mode: "Shadwo" is none of Plan, Shadow, Armed
  --> x.yaml:43:63
   |
43 | spec: {experiment: slow-payments, params: {latncy: 1s}, mode: Shadwo, halt: nope}
   |                                                               ^^^^^^
   |
   = help: did you mean `Shadow`?

error: spec.halt: the text `nope` stands where true or false must
  --> x.yaml:43:77
   |
43 | spec: {experiment: slow-payments, params: {latncy: 1s}, mode: Shadwo, halt: nope}
   |                                                                             ^^^^

error: metadata: metadata.name or metadata.generateName is missing
  --> x.yaml:47:1
   |
47 | metadata: {}
   | ^^^^^^^^

error: spec: a run must have exactly one of experiment and inline
  --> x.yaml:48:1
   |
48 | spec: {}
   | ^^^^
"#]]
    );
}

#[test]
fn what_is_no_experiment_is_told() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
---
a: 1
---
apiVersion: chaos-agent.dev/v1
kind: Experiment
---
apiVersion: chaos-agent.dev/v1alpha1
kind: Experimnet
---
kind: Run
---
a: [1
";
    let checked = Checked::of(text);
    let skipped: Vec<(usize, &str)> =
        checked.skipped.iter().map(|one| (one.line, one.what.as_str())).collect();
    assert_eq!(skipped, [(1, "Deployment"), (4, "no Kubernetes object")]);
    assert_data_eq!(
        report(text),
        str![[r#"
error: `chaos-agent.dev/v1` is not known
 --> x.yaml:6:13
  |
6 | apiVersion: chaos-agent.dev/v1
  |             ^^^^^^^^^^^^^^^^^^
  |
  = help: write `chaos-agent.dev/v1alpha1`

error: `Experimnet` is no kind of `chaos-agent.dev/v1alpha1`
  --> x.yaml:10:7
   |
10 | kind: Experimnet
   |       ^^^^^^^^^^
   |
   = help: did you mean `Experiment`?

error: a Run has the apiVersion `chaos-agent.dev/v1alpha1`
  --> x.yaml:12:1
   |
12 | kind: Run
   | ^^^^
   |
   = help: write `apiVersion: chaos-agent.dev/v1alpha1`

error: this is no YAML: unclosed bracket '['
  --> x.yaml:14:4
   |
14 | a: [1
   |    ^
"#]]
    );
}

#[test]
fn keys_are_there_once() {
    let text = GOOD.replace("kind: Experiment", "kind: Experiment\nkind: Experiment");
    assert!(report(&text).contains("the key `kind` is there twice"));
}

#[test]
fn lists_are_looked_into() {
    let indented: String = GOOD.lines().map(|line| format!("  {line}\n")).collect();
    let item = indented.replacen("  # Half", "- # Half", 1);
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{item}- kind: Pod\n  apiVersion: v1\n");
    let checked = Checked::of(&text);
    assert_eq!((checked.mistakes.as_slice(), checked.documents.len()), (&[][..], 1));
    assert_eq!(checked.skipped.len(), 1);
    assert!(report(&text.replace("do: drop", "do: dorp")).contains("did you mean `drop`?"));
}

#[test]
fn a_parameter_brings_no_sentence() {
    let text = GOOD.replace("latency: 200ms", "latency: 200ms; kill container");
    let said = report(&text);
    assert!(said.contains("the value of `$(latency)` has ';', which ends a sentence"), "{said}");
}

#[test]
fn functions_are_those_that_the_controller_has() {
    for (call, expected) in [
        ("pod.metadata.name.startWith('web')", "startsWith"),
        ("lowercase(pod.metadata.name) == 'web'", "`lowercase(…)` is not known here"),
    ] {
        let said = report(&GOOD.replace("where: age > duration('5m')", &format!("where: {call}")));
        assert!(said.contains("target web: where: ") && said.contains(expected), "{call}: {said}");
    }
}

#[test]
fn conditions_ask_for_what_probes_have() {
    let text = |condition: &str, from: &str| {
        format!(
            "\
apiVersion: chaos-agent.dev/v1alpha1
kind: Experiment
metadata: {{name: slow, namespace: shop}}
spec:
  probes: [{{name: home, tcp: {{address: 'db:5432'}}, every: 5}}]
{from}  steps: [{{name: rest, wait: {{for: 1m}}, if: {condition}}}]
"
        )
    };
    let said = report(&text("probes.hoem.ok", "").replace("every: 5", "every: 5s"));
    assert!(said.contains("step rest: if: `probes.hoem` is not there; there are: home"), "{said}");
    let said = report(&text("probes.home.okay", "").replace("every: 5", "every: 5s"));
    assert!(said.contains("`probes.home.okay` is not there; there are: ok, failed"), "{said}");
    let library = "  probesFrom: [{experiment: others}]\n";
    let said = report(&text("probes.cart.ok", library).replace("every: 5", "every: 5s"));
    assert_eq!(said, "");
    // One mistake is told once, although a rule is about the same field.
    let said = report(&text("probes.home.ok", ""));
    assert!(said.contains("write it with a unit, such as `5s`"), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
}
