//! Reads from the API server with the rights of a service account.

use std::time::Duration;

use http::header::ACCEPT;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use kube::{Client, client::Body};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    asker::{Asker, Asking},
    connection::Patience,
    json::{self, JsonError},
    room::Room,
    trouble::Trouble,
};

/// In bytes, of an answer.
const MOST: usize = 1 << 20;

/// How long the API server is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A service account that the controller reads as.
pub struct Account<'a> {
    asker: &'a Asker,
    client: &'a Client,
    asking: &'a Asking,
}

impl<'a> Account<'a> {
    /// The account of an experiment.
    pub fn of(asker: &'a Asker, asking: &'a Asking) -> Result<Self, Trouble> {
        let client = asker.client().ok_or_else(|| {
            Trouble::Question("there is no API server to read from; ask in a cluster".to_owned())
        })?;
        if asking.service_account.is_empty() {
            return Err(Trouble::Question(
                "the experiment has no `serviceAccountName`, with whose rights this is read; write one"
                    .to_owned(),
            ));
        }
        checked("serviceAccountName", &asking.service_account)?;
        Ok(Self { asker, client, asking })
    }

    /// Where the account is.
    pub fn namespace(&self) -> &str {
        &self.asking.namespace
    }

    /// Reads an object or a list, which has its room as long as it lives. `what` says for people what that is.
    pub async fn read(
        &self,
        path: &str,
        what: &str,
        patience: Patience,
    ) -> Result<(Value, Room), Trouble> {
        let left = patience.left().min(PATIENCE);
        let answered = timeout(left, self.ask(path, what, patience)).await;
        let late = || Trouble::Question(format!("{what}: no answer of the API server in time"));
        answered.unwrap_or_else(|_| Err(late()))
    }

    async fn ask(
        &self,
        path: &str,
        what: &str,
        patience: Patience,
    ) -> Result<(Value, Room), Trouble> {
        let failed = |why: &dyn std::fmt::Display| Trouble::Question(format!("{what}: {why}"));
        let Asking { namespace, service_account, .. } = self.asking;
        let request = http::Request::get(path)
            .header(ACCEPT, "application/json")
            .header(
                "Impersonate-User",
                format!("system:serviceaccount:{namespace}:{service_account}"),
            )
            .body(Body::empty())
            .map_err(|error| failed(&error))?;
        let response = self.client.send(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let announced = response.body().size_hint().upper();
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(MOST);
        let room = self.asker.rooms().take(announced.min(MOST), patience).await?;
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return failed(&format!(
                    "more than {MOST} bytes; name objects, or select fewer by labels"
                ));
            }
            failed(&error)
        })?;
        let body = body.to_bytes();
        let read = move || Ok((json::read::<Value>(&body), room));
        let (object, room) = self.asker.judges().run(read).await?;
        if object == Err(JsonError::TooMany) {
            return Err(failed(&JsonError::TooMany));
        }
        let object = object.unwrap_or_default();
        let message = object["message"].as_str().unwrap_or_default();
        match status.as_u16() {
            200 => Ok((object, room)),
            403 => Err(failed(&remedy(self.asking, message))),
            404 => Err(failed(&"it is not there")),
            _ => Err(failed(&format!("the API server answers {status}: {message}"))),
        }
    }
}

/// What has to be bound where something is forbidden.
fn remedy(asking: &Asking, message: &str) -> String {
    let Asking { namespace, service_account, .. } = asking;
    if message.contains("impersonate") {
        format!(
            "the controller may not act as service account {namespace}/{service_account}; whoever runs the cluster binds a \
             Role with `impersonate` on `serviceaccounts` `{service_account}` to it, by a RoleBinding in {namespace}"
        )
    } else {
        format!(
            "service account {namespace}/{service_account} may not read it; bind a Role that allows `get` and `list` to it, \
             by a RoleBinding in {namespace}"
        )
    }
}

/// A name that is a part of a path: letters, digits, `-` and `.`.
pub fn checked<'n>(what: &str, name: &'n str) -> Result<&'n str, Trouble> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
    let has_ends = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_plain
        && has_ends(name.bytes().next())
        && has_ends(name.bytes().last())
        && !name.contains("..")
    {
        return Ok(name);
    }
    Err(Trouble::Question(format!(
        "{what}: `{name}` is no name of an object; it has small letters, digits, `-` and `.`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_elsewhere() {
        for (name, expected) in [
            ("rabbit", true),
            ("rabbit-0.shop", true),
            ("", false),
            ("../configmaps/x", false),
            ("a..b", false),
            ("a/b", false),
            ("a?b", false),
            ("A", false),
            ("a%2fb", false),
            ("-a", false),
            ("a\r\nb", false),
        ] {
            assert_eq!(checked("name", name).is_ok(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_forbidden_says_which_binding_is_missing() {
        let asking = Asking {
            namespace: "shop".to_owned(),
            run_uid: "1".to_owned(),
            service_account: "chaos".to_owned(),
        };
        let impersonation =
            "serviceaccounts \"chaos\" is forbidden: User \"x\" cannot impersonate resource";
        assert!(
            remedy(&asking, impersonation)
                .contains("the controller may not act as service account shop/chaos")
        );
        let reading = "secrets \"s\" is forbidden: User \"system:serviceaccount:shop:chaos\" cannot get resource";
        assert!(remedy(&asking, reading).contains("service account shop/chaos may not read it"));
    }
}
