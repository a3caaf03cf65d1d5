//! Asks servers that misbehave, and some that do not.

mod http;
mod server;
mod services;
mod tls;

use chaos_api::kinds::Probe;
use serde_json::Value;

use crate::{Asker, Asking, Outcome, Sample, Settings};

/// With whom everything on the loopback interface may be asked.
fn asker() -> Asker {
    let networks = ["127.0.0.0/8", "::1/128"].iter().map(|text| text.parse().unwrap());
    Asker::new(Settings { networks: networks.collect(), ..Settings::default() }, None)
}

fn asking() -> Asking {
    Asking { namespace: "shop".into(), run_uid: "1".into(), service_account: "chaos".into() }
}

fn probe(mut probe: Value) -> Probe {
    probe["name"] = "p".into();
    serde_json::from_value(probe).unwrap()
}

async fn ask(asker: &Asker, question: Value) -> Sample {
    asker.ask(&asking(), &probe(question), None).await
}

#[track_caller]
fn expect(sample: &Sample, outcome: Outcome, seen: &str) {
    assert!(
        sample.outcome == outcome && sample.seen.contains(seen),
        "{outcome:?} {seen}: {sample:?}"
    );
}
