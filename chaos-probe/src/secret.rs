//! Reads the values of Secrets that requests have as headers.

use chaos_api::kinds::SecretKeyRef;
use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::{
    account::{Account, checked},
    trouble::Trouble,
};

/// The value of a key.
pub async fn read(
    account: &Account<'_>,
    namespace: &str,
    of: &SecretKeyRef,
) -> Result<Vec<u8>, Trouble> {
    let name = checked("secretKeyRef", &of.name)?;
    let what = format!("Secret {namespace}/{name}");
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let object = account.read(&path, &what).await?;
    // The error of what cannot be read would have parts of it.
    let secret: Secret = serde_json::from_value(object)
        .map_err(|_| Trouble::Question(format!("{what}: the answer is no Secret")))?;
    let value = secret.data.unwrap_or_default().remove(&of.key).map(|ByteString(value)| value);
    value.ok_or_else(|| Trouble::Question(format!("{what} has no key `{}`", of.key)))
}
