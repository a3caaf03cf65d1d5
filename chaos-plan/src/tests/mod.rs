mod compiled;
mod lookup;
mod planned;
mod refused;

use super::*;

/// The only sentence of `text`.
fn fault(text: &str) -> Fault {
    text.parse().unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// A plan on a kernel that has every hook.
fn plan_all(faults: &[Fault], terms: &Terms) -> Plan {
    plan(faults, &KernelFeatures::everything("6.12.0"), terms)
}

/// The rule for one sentence, which must not be refused.
fn rule(text: &str) -> PlannedRule {
    let mut plan = plan_all(&[fault(text)], &Terms::default());
    assert_eq!(plan.refused, [], "{text}");
    plan.rules.remove(0)
}
