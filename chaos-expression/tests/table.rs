//! Compares this crate with what the API server of Kubernetes gives.

use std::{collections::BTreeMap, time::Duration};

use chaos_expression::{Expression, Variables};
use serde::Deserialize;

/// Expressions over the same variables.
#[derive(Deserialize)]
struct Table {
    variables: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    durations: BTreeMap<String, String>,
    rows: Vec<(serde_json::Value, String)>,
}

#[test]
fn expressions_give_what_they_give_on_the_api_server() {
    let tables: Vec<Table> = serde_saphyr::from_str(include_str!("expressions.yaml")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for table in &tables {
        let mut variables = Variables::default();
        for (name, value) in &table.variables {
            variables = variables.json(name, value);
        }
        for (name, text) in &table.durations {
            let milliseconds = text.strip_suffix("ms").unwrap().parse().unwrap();
            variables = variables.duration(name, Duration::from_millis(milliseconds));
        }
        let names = table.variables.keys().chain(table.durations.keys());
        let names: Vec<&str> = names.map(String::as_str).collect();
        for (expected, text) in &table.rows {
            let result = Expression::compile(text, &names).and_then(|one| one.holds(&variables));
            let found = match &result {
                Ok(holds) => serde_json::Value::Bool(*holds),
                Err(_) => "error".into(),
            };
            count += 1;
            if found != *expected {
                wrong.push(format!("{text}: expected {expected}, and it is {result:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 100, "{count} rows");
}

/// The API server's language has none of `math`.
#[test]
fn functions_of_math_give_what_their_names_say() {
    let variables =
        Variables::default().double("value", 0.031).double("baseline", 0.02).int("count", 3);
    for (expected, text) in [
        (true, "value <= math.greatest(0.01, baseline * 2.0)"),
        (false, "value <= math.greatest(0.01, baseline)"),
        (true, "math.greatest(value, 1) == 1"),
        (true, "math.greatest(count, 2.5) == 3"),
        (true, "math.least(value, 1) == value"),
        (true, "math.least([value, baseline]) == baseline"),
        (true, "math.greatest(1, 2, count) == 3"),
        (true, "math.abs(value - baseline) < 0.012"),
        (true, "math.abs(-count) == 3"),
        (true, "math.ceil(value) == 1.0 && math.floor(value) == 0.0"),
        (true, "math.round(value) == 0.0"),
    ] {
        let names = ["value", "baseline", "count"];
        let holds = Expression::compile(text, &names).and_then(|one| one.holds(&variables));
        assert_eq!(holds, Ok(expected), "{text}");
    }
    for text in [
        "math.greatest() > 1",
        "math.greatest([]) > 1",
        "math.abs('a') > 1",
        "math.greatest('a') == 'a'",
    ] {
        let holds = Expression::compile(text, &[]).and_then(|one| one.holds(&variables));
        assert!(holds.is_err(), "{text}");
    }
}
