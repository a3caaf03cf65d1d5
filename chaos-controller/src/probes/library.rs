//! Puts the probes of other experiments into the copy that a run works from.

use std::collections::BTreeMap;

use chaos_api::kinds::ExperimentSpec;
use thiserror::Error;

use super::fill::{fill, needs_account};

/// The most probes that a run has. A definition allows an experiment as many.
const MOST: usize = 16;

/// Why there is no copy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LibraryError {
    #[error("probesFrom: there is no experiment {0} in the namespace of the run")]
    Missing(String),
    #[error(
        "probesFrom: probe {probe} of experiment {experiment}: `$({name})` is no parameter of that experiment"
    )]
    Param { experiment: String, probe: String, name: String },
    #[error(
        "probesFrom: experiment {experiment} has a probe {probe}, and there is another of this name; rename one of them"
    )]
    Clash { experiment: String, probe: String },
    #[error(
        "probesFrom: probe {probe} of experiment {experiment} reads objects or Secrets, so both experiments have to name the same serviceAccountName"
    )]
    Account { experiment: String, probe: String },
    #[error("probesFrom: with those of others there are {0} probes, and a run has {MOST} at most")]
    TooMany(usize),
}

/// A copy with all probes: its own, and those of the experiments that it names, with the values of their own parameters.
pub fn with_probes<'a>(
    spec: &ExperimentSpec,
    find: impl Fn(&str) -> Option<&'a ExperimentSpec>,
) -> Result<ExperimentSpec, LibraryError> {
    let mut copy = ExperimentSpec { probes_from: Vec::new(), ..spec.clone() };
    for from in &spec.probes_from {
        let experiment = &from.experiment;
        let library = find(experiment).ok_or_else(|| LibraryError::Missing(experiment.clone()))?;
        let params: BTreeMap<&str, &str> =
            library.params.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
        for probe in &library.probes {
            let (experiment, name) = (experiment.clone(), probe.name.clone());
            if copy.probes.iter().any(|other| other.name == name) {
                return Err(LibraryError::Clash { experiment, probe: name });
            }
            // Or whoever writes a library would have the rights of another experiment's account.
            let is_lent = library.service_account_name != spec.service_account_name;
            if is_lent && needs_account(probe) {
                return Err(LibraryError::Account { experiment, probe: name });
            }
            copy.probes.push(fill(probe, &params).map_err(|unknown| LibraryError::Param {
                experiment,
                probe: name,
                name: unknown,
            })?);
        }
    }
    if copy.probes.len() > MOST {
        return Err(LibraryError::TooMany(copy.probes.len()));
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn library(probes: Value) -> ExperimentSpec {
        let spec = json!({ "params": { "host": "web.shop" }, "probes": probes });
        serde_json::from_value(spec).unwrap()
    }

    fn user(probes: Value) -> ExperimentSpec {
        let from = json!([{ "experiment": "baseline" }]);
        let steps = json!([{ "name": "rest", "wait": { "for": "1s" } }]);
        let spec = json!({ "probes": probes, "probesFrom": from, "steps": steps });
        serde_json::from_value(spec).unwrap()
    }

    fn probe(name: &str, url: &str) -> Value {
        json!({ "name": name, "http": { "url": url } })
    }

    #[test]
    fn probes_of_others_come_with_their_own_parameters() {
        let library = library(json!([probe("home", "http://$(host)/")]));
        let copy = with_probes(&user(json!([probe("own", "http://x")])), |name| {
            assert_eq!(name, "baseline");
            Some(&library)
        })
        .unwrap();
        let urls: Vec<&str> =
            copy.probes.iter().map(|probe| probe.http.as_ref().unwrap().url.as_str()).collect();
        assert_eq!(urls, ["http://x", "http://web.shop/"]);
        assert!(copy.probes_from.is_empty());
    }

    #[test]
    fn what_cannot_be_put_together_is_told() {
        let home = || json!([probe("home", "http://$(host)/")]);
        let unknown = json!([probe("home", "http://$(port)/")]);
        let many: Vec<Value> = (0..17).map(|n| probe(&format!("p{n}"), "http://x")).collect();
        for (probes, own, expected) in [
            (home(), home(), "experiment baseline has a probe home, and there is another"),
            (unknown, json!([]), "probe home of experiment baseline: `$(port)` is no parameter"),
            (many.into(), json!([]), "there are 17 probes, and a run has 16 at most"),
        ] {
            let library = library(probes);
            let error = with_probes(&user(own), |_| Some(&library)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let word =
            json!({ "name": "Authorization", "secretKeyRef": { "name": "shop", "key": "word" } });
        for probe in [
            json!({ "name": "home", "http": { "url": "http://thief", "headers": [word] } }),
            json!({ "name": "home", "kubernetes": { "kind": "Deployment" } }),
        ] {
            let mut library = library(json!([probe]));
            let mut user = user(json!([]));
            user.service_account_name = Some("chaos".to_owned());
            let error = with_probes(&user, |_| Some(&library)).unwrap_err().to_string();
            assert!(error.contains("the same serviceAccountName"), "{error}");
            library.service_account_name.clone_from(&user.service_account_name);
            assert!(with_probes(&user, |_| Some(&library)).is_ok());
        }
        let error = with_probes(&user(json!([])), |_| None).unwrap_err();
        assert_eq!(error, LibraryError::Missing("baseline".to_owned()));
    }
}
