//! Watches at the API server the pods of this node, the namespaces that allow faults, and the guard's Lease.

use std::{convert::Infallible, fmt::Debug, hash::Hash, pin::pin, time::Duration};

use chaos_api::Engine;
use futures_util::StreamExt as _;
use kube::{
    Api,
    api::Resource,
    runtime::{
        reflector::{Lookup, store::Writer},
        utils::Backoff as _,
        watcher::{self, DefaultBackoff, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::liveness::{Liveness, Watch};

/// The server ends a watch after so many seconds, and the client takes it up again. A connection
/// that died silently is noticed no later.
const WATCH_SECONDS: u32 = 60;

/// A failed watch is begun anew no later than this, well within any sensible grace.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps a store like the server's, for as long as it is polled.
///
/// After any error everything is listed anew: then it is known that nothing was missed, above all
/// no deletion.
pub(super) async fn keep<K, E: Engine>(
    watch: Watch,
    api: Api<K>,
    config: watcher::Config,
    mut store: Writer<K>,
    slim: impl Fn(&mut K),
    liveness: &Liveness<E>,
) -> Infallible
where
    K: Resource + Lookup + Clone + Debug + DeserializeOwned + Send + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone,
{
    // Served from memory by the API server, as the kubelet has it.
    let config = config.timeout(WATCH_SECONDS).any_semantic();
    let mut lapses = liveness.lapses();
    let mut backoff = DefaultBackoff::default();
    loop {
        lapses.mark_unchanged();
        let mut events = pin!(watcher(api.clone(), config.clone()));
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = lapses.changed() => break,
            };
            match event {
                Some(Ok(event)) => {
                    let event = event.modify(&slim);
                    store.apply_watcher_event(&event);
                    match event {
                        Event::InitDone => {
                            backoff.reset();
                            liveness.is_current(watch, true);
                            liveness.note_change();
                        }
                        Event::Apply(_) | Event::Delete(_) => {
                            liveness.heard();
                            liveness.note_change();
                        }
                        Event::Init | Event::InitApply(_) => {}
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(?watch, %error, "watching failed; listing anew");
                    liveness.is_current(watch, false);
                    break;
                }
                None => break,
            }
        }
        tokio::time::sleep(backoff.next().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)).await;
    }
}
