//! Resolves names on threads of their own, of which only so many go at a time: a name server that hangs keeps no more.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};

use crate::{connection::Patience, trouble::Trouble};

/// Names that are resolved at a time. A lookup that nobody waits for any more still is one of them.
const AT_ONCE: usize = 32;

/// The addresses of a name, or why there are none; nothing while they are looked up.
type Found = Option<Result<Vec<IpAddr>, String>>;

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Resolves names. Questions for the same name wait for one lookup.
pub struct Resolver {
    turns: Arc<Semaphore>,
    open: Arc<Mutex<BTreeMap<String, watch::Receiver<Found>>>>,
    lookup: Arc<Lookup>,
}

impl Resolver {
    /// Resolves as the system does.
    pub fn of_system() -> Self {
        Self::with(AT_ONCE, |host| {
            Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
        })
    }

    fn with(
        at_once: usize,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(at_once));
        Self { turns, open: Arc::default(), lookup: Arc::new(lookup) }
    }

    /// The addresses of a name, at least one, in their order.
    pub async fn resolve(&self, host: &str, patience: Patience) -> Result<Vec<IpAddr>, Trouble> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let failed = |why: String| Trouble::NotResolved { host: host.to_owned(), why };
        let found = timeout(patience.left(), self.find(host)).await;
        let late = || failed(format!("no answer within {:?}", patience.whole()));
        let found = found.map_err(|_| late())?.map_err(failed)?;
        if found.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        Ok(found)
    }

    async fn find(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let mut found = match self.joined(host) {
            Some(found) => found,
            None => self.begun(host).await?,
        };
        let ended = "the lookup has ended without a result".to_owned();
        let found = found.wait_for(Option::is_some).await.map_err(|_| ended.clone())?;
        found.clone().unwrap_or(Err(ended))
    }

    /// The lookup of this name that goes on.
    fn joined(&self, host: &str) -> Option<watch::Receiver<Found>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(host).cloned()
    }

    /// Begins a lookup once it is its turn.
    async fn begun(&self, host: &str) -> Result<watch::Receiver<Found>, String> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|why| why.to_string())?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = open.get(host) {
            return Ok(found.clone());
        }
        let (tell, found) = watch::channel(None);
        open.insert(host.to_owned(), found.clone());
        let (host, open, lookup) =
            (host.to_owned(), Arc::clone(&self.open), Arc::clone(&self.lookup));
        spawn_blocking(move || {
            let result = lookup(&host).map_err(|error| error.to_string());
            open.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
            tell.send_replace(Some(result));
            drop(turn);
        });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn lookups_that_hang_are_few_and_one_for_each_name() {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let resolver = Resolver::with(2, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            // Hangs until the test ends.
            let _ended = held.lock().unwrap().recv();
            Ok(vec![IpAddr::from([10, 0, 0, 1])])
        });
        let short = || Patience::of(Duration::from_millis(50));
        for name in ["a", "a", "a", "b", "c", "d", "a", "c"] {
            let error = resolver.resolve(name, short()).await.unwrap_err();
            assert!(
                !error.is_failure() && error.to_string().contains("no answer within"),
                "{error}"
            );
        }
        assert!(count.load(Ordering::SeqCst) <= 2);
        assert_eq!(resolver.open.lock().unwrap().len(), 2);
        drop(release);
        let long = Patience::of(Duration::from_secs(30));
        assert_eq!(resolver.resolve("c", long).await.unwrap(), [IpAddr::from([10, 0, 0, 1])]);
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_told() {
        let resolver = Resolver::with(1, |host| match host {
            "empty" => Ok(Vec::new()),
            _ => Err(io::Error::other("no such name")),
        });
        for (name, expected) in [("empty", "it has no address"), ("other", "no such name")] {
            let long = Patience::of(Duration::from_secs(30));
            let error = resolver.resolve(name, long).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let address = resolver.resolve("::1", Patience::of(Duration::ZERO)).await.unwrap();
        assert_eq!(address, ["::1".parse::<IpAddr>().unwrap()]);
    }
}
