//! Looks up the DNS names of peers again and again, beside the loop that decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::lookup_host, sync::Notify, task::JoinSet, time::timeout};

/// What is known of a name: every address that it has had since somebody wanted it; or why there is none.
pub type Answer = Result<BTreeSet<IpAddr>, String>;

/// Between two questions for a name.
const PAUSE: Duration = Duration::from_secs(30);
/// The same after one that was not answered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// Questions at a time.
const AT_ONCE: usize = 16;

/// The names that somebody wants to know.
#[derive(Default)]
pub struct Hosts {
    known: BTreeMap<String, Host>,
    asking: JoinSet<(String, Answer)>,
}

#[derive(Default)]
struct Host {
    addresses: BTreeSet<IpAddr>,
    failure: Option<String>,
    /// When it is asked for next; `None` while it is.
    due: Option<Instant>,
}

impl Hosts {
    /// What is known of these names; the others are forgotten. Asks for those that are due, and tells `changed` when
    /// there is an answer. A name that was never answered is missing.
    pub fn look(
        &mut self,
        wanted: &BTreeSet<String>,
        changed: &Arc<Notify>,
    ) -> BTreeMap<String, Answer> {
        while let Some(answered) = self.asking.try_join_next() {
            // One that was cancelled is asked for again.
            if let Ok((name, answer)) = answered {
                self.take(&name, answer);
            }
        }
        self.known.retain(|name, _| wanted.contains(name));
        let now = Instant::now();
        for name in wanted {
            let host = self
                .known
                .entry(name.clone())
                .or_insert_with(|| Host { due: Some(now), ..Host::default() });
            if host.due.is_some_and(|due| due <= now) && self.asking.len() < AT_ONCE {
                host.due = None;
                let (name, changed) = (name.clone(), changed.clone());
                self.asking.spawn(async move {
                    let answer = ask(&name).await;
                    changed.notify_one();
                    (name, answer)
                });
            }
        }
        let known =
            self.known.iter().filter_map(|(name, host)| Some((name.clone(), host.answer()?)));
        known.collect()
    }

    fn take(&mut self, name: &str, answer: Answer) {
        let Some(host) = self.known.get_mut(name) else { return };
        let pause = match answer {
            Ok(addresses) => {
                host.addresses.extend(addresses);
                host.failure = None;
                PAUSE
            }
            Err(why) => {
                host.failure = Some(why);
                PAUSE_AFTER_FAILURE
            }
        };
        host.due = Some(Instant::now() + pause);
    }
}

impl Host {
    /// Addresses that it has had count, also while it is not answered.
    fn answer(&self) -> Option<Answer> {
        if self.addresses.is_empty() {
            return self.failure.clone().map(Err);
        }
        Some(Ok(self.addresses.clone()))
    }
}

async fn ask(name: &str) -> Answer {
    match timeout(PATIENCE, lookup_host((name, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_looked_up_beside_the_loop() {
        let (mut hosts, changed) = (Hosts::default(), Arc::new(Notify::new()));
        let wanted = BTreeSet::from(["localhost".to_owned(), "no name".to_owned()]);
        assert!(hosts.look(&wanted, &changed).is_empty());
        let mut known = BTreeMap::new();
        while known.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            known = hosts.look(&wanted, &changed);
        }
        assert!(known["localhost"].as_ref().unwrap().iter().all(IpAddr::is_loopback));
        assert!(known["no name"].is_err());
        let only = BTreeSet::from(["localhost".to_owned()]);
        assert_eq!(hosts.look(&only, &changed).len(), 1);
    }

    #[test]
    fn addresses_that_a_name_has_had_count_on() {
        let mut hosts = Hosts::default();
        hosts.known.insert("www.example".into(), Host::default());
        let address = |last| IpAddr::from([192, 0, 2, last]);
        hosts.take("www.example", Err("timeout".into()));
        assert_eq!(hosts.known["www.example"].answer(), Some(Err("timeout".into())));
        for last in [7, 8] {
            hosts.take("www.example", Ok([address(last)].into()));
        }
        hosts.take("www.example", Err("timeout".into()));
        let both = [address(7), address(8)].into();
        assert_eq!(hosts.known["www.example"].answer(), Some(Ok(both)));
    }
}
