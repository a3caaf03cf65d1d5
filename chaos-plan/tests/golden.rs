//! What the planner makes of a fixed set of sentences on each recorded kernel, byte for byte: a change of
//! structure changes none of it. `SNAPSHOTS=overwrite` writes `tests/golden` anew, where a change of behaviour
//! is meant.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use chaos_fault::{Fault, Sentence, parse};
use chaos_plan::{KernelFeatures, Terms, plan};

const KERNELS: [&str; 6] =
    ["debian-5.10", "debian-6.1", "debian-6.12", "debian-7", "linux-6.18", "override-6.12"];

fn recorded(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn sentences() -> Vec<(String, Fault)> {
    let parse = |text: &str| {
        let sentences = parse(text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        let [Sentence { fault, .. }] = &sentences[..] else { panic!("{text}: not one sentence") };
        (text.to_owned(), fault.clone())
    };
    recorded("../chaos-fault/tests/golden/sentences.txt").lines().map(parse).collect()
}

#[test]
fn faults_are_planned_as_before() {
    let features = KERNELS.map(|kernel| -> KernelFeatures {
        serde_json::from_str(&recorded(&format!("tests/features/{kernel}.json"))).expect(kernel)
    });
    let terms = Terms { has_guard: true, ..Terms::default() };
    let mut page = String::new();
    for (text, fault) in sentences() {
        let mut kernels = BTreeMap::<String, Vec<&str>>::new();
        for (kernel, features) in KERNELS.iter().zip(&features) {
            let plan = plan(std::slice::from_ref(&fault), features, &terms);
            let plan = serde_json::to_string(&plan).expect("a plan is JSON");
            kernels.entry(plan).or_default().push(kernel);
        }
        writeln!(page, "{text}").unwrap();
        for (plan, kernels) in kernels {
            writeln!(page, "  {}: {plan}", kernels.join(", ")).unwrap();
        }
    }
    snapbox::assert_data_eq!(page, snapbox::file!["golden/plans.txt"].raw());
}
