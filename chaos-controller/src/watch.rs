//! Watches the API server and keeps stores like it.

use std::{fmt::Debug, pin::pin};

use futures_util::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt as _, reflector::store::Writer, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// Keeps a store like the server's, for as long as it is polled, and tells of changes.
pub async fn keep<K>(
    api: Api<K>,
    config: watcher::Config,
    store: Writer<K>,
    slim: impl Fn(&mut K) + Send,
    changed: &Notify,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher(api, config).default_backoff().modify(slim).reflect(store);
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => changed.notify_one(),
            Err(error) => tracing::warn!(%error, "watching failed; it is begun anew"),
        }
    }
}
