//! Reads the values of Secrets that requests have as headers.

use std::collections::BTreeMap;

use chaos_api::kinds::SecretKeyRef;
use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::{
    account::{Account, checked},
    connection::Patience,
    trouble::Trouble,
};

/// The Secrets of one question, each read once.
#[derive(Default)]
pub struct Secrets {
    read: BTreeMap<String, BTreeMap<String, ByteString>>,
}

impl Secrets {
    /// The value of a key.
    pub async fn read(
        &mut self,
        account: &Account<'_>,
        of: &SecretKeyRef,
        patience: Patience,
    ) -> Result<Vec<u8>, Trouble> {
        let name = checked("secretKeyRef", &of.name)?;
        let namespace = account.namespace();
        let what = format!("Secret {namespace}/{name}");
        if !self.read.contains_key(name) {
            let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
            let (object, _room) = account.read(&path, &what, patience).await?;
            // The error of what cannot be read would have parts of it.
            let secret: Secret = serde_json::from_value(object)
                .map_err(|_| Trouble::Question(format!("{what}: the answer is no Secret")))?;
            self.read.insert(name.to_owned(), secret.data.unwrap_or_default());
        }
        let value = self.read.get(name).and_then(|data| data.get(&of.key));
        let missing = || Trouble::Question(format!("{what} has no key `{}`", of.key));
        value.map(|ByteString(value)| value.clone()).ok_or_else(missing)
    }
}
