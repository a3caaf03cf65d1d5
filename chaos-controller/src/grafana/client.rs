//! Talks with Grafana's API of annotations. What it answers in words is not told: it may repeat the token.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use chaos_probe::{JsonApi, JsonApiError, JsonCall, JsonReply, JsonVerb};
use serde_json::Value;
use thiserror::Error;
use tokio::{task::spawn_blocking, time::timeout};

use super::{GrafanaOptions, annotation::Annotation, queue::Next};

const PATH: &str = "/api/annotations";

/// In bytes, of a token.
const LONGEST_TOKEN: u64 = 4096;

/// Why Grafana was not told.
#[derive(Debug, Error)]
pub enum GrafanaError {
    #[error("read the token file {path}: {source}")]
    TokenFile { path: PathBuf, source: io::Error },
    #[error(
        "the token file {path} has no line of 1 to {LONGEST_TOKEN} bytes alone; write the token of a service account there"
    )]
    Token { path: PathBuf },
    #[error(transparent)]
    Call(#[from] JsonApiError),
    #[error("{verb} {PATH}: Grafana answers {status}{}", remedy(.status))]
    Refused { verb: &'static str, status: u16 },
    #[error("{verb} {PATH}: the answer is none of Grafana; is the URL its root?")]
    Stranger { verb: &'static str },
}

impl GrafanaError {
    /// Whether the same annotation is refused for ever.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused { status, .. } => [400, 413, 422].contains(status),
            Self::TokenFile { .. } | Self::Token { .. } | Self::Call(_) | Self::Stranger { .. } => {
                false
            }
        }
    }
}

fn remedy(status: &u16) -> &'static str {
    match status {
        401 => "; is the token in `--grafana-token-file` valid?",
        403 => {
            "; the token's account needs annotations:read, annotations:create and annotations:write"
        }
        404 => "; is the URL the root of Grafana?",
        300..=399 => "; redirects are not followed: give the URL that this one leads to",
        _ => "",
    }
}

/// An annotation that Grafana has.
struct Found {
    id: u64,
    is_region: bool,
}

/// A Grafana that is told.
pub struct Client {
    api: JsonApi,
    token_file: Option<PathBuf>,
    timeout: Duration,
}

impl Client {
    pub fn new(options: GrafanaOptions, timeout: Duration) -> Self {
        let GrafanaOptions { url, token_file } = options;
        Self { api: JsonApi::new(url), token_file, timeout }
    }

    /// Sees to it that Grafana has an annotation, once. Its ID.
    pub async fn tell(&self, next: &Next) -> Result<u64, GrafanaError> {
        let Next { annotation, id, .. } = next;
        let found = match id {
            Some(id) => Some(Found { id: *id, is_region: false }),
            None => self.find(&annotation.tags).await?,
        };
        match found {
            None => self.post(annotation).await,
            Some(Found { id, is_region }) => {
                if annotation.end.is_some() && !is_region {
                    let (body, path) = (annotation.body(), format!("{PATH}/{id}"));
                    self.ask("PATCH", JsonVerb::Patch(&body), &path, &[]).await?;
                }
                Ok(id)
            }
        }
    }

    async fn find(&self, tags: &[String]) -> Result<Option<Found>, GrafanaError> {
        let stranger = || GrafanaError::Stranger { verb: "GET" };
        let tags = tags.iter().map(|tag| ("tags", tag.as_str()));
        let query: Vec<_> =
            [("type", "annotation"), ("limit", "1")].into_iter().chain(tags).collect();
        let reply = self.ask("GET", JsonVerb::Get, PATH, &query).await?;
        let all = reply.as_ref().and_then(Value::as_array).ok_or_else(stranger)?;
        let Some(one) = all.first() else { return Ok(None) };
        let time = |field: &str| one[field].as_i64().unwrap_or_default();
        let id = one["id"].as_u64().ok_or_else(stranger)?;
        Ok(Some(Found { id, is_region: time("timeEnd") > time("time") }))
    }

    async fn post(&self, annotation: &Annotation) -> Result<u64, GrafanaError> {
        let body = annotation.body();
        let reply = self.ask("POST", JsonVerb::Post(&body), PATH, &[]).await?;
        let id = reply.as_ref().and_then(|reply| reply["id"].as_u64());
        id.ok_or(GrafanaError::Stranger { verb: "POST" })
    }

    async fn ask(
        &self,
        name: &'static str,
        verb: JsonVerb<'_>,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Value>, GrafanaError> {
        let token = self.token().await?;
        let token = token.as_deref();
        let call = JsonCall { verb, path, query, token, timeout: self.timeout };
        let JsonReply { status, body } = self.api.call(call).await?;
        match status {
            200..=299 => Ok(body),
            _ => Err(GrafanaError::Refused { verb: name, status }),
        }
    }

    /// The token as it is now: whoever replaces it starts no controller.
    async fn token(&self) -> Result<Option<String>, GrafanaError> {
        let Some(path) = self.token_file.clone() else { return Ok(None) };
        let failed = |source| GrafanaError::TokenFile { path: path.clone(), source };
        let of = path.clone();
        let read = timeout(self.timeout, spawn_blocking(move || read(&of))).await;
        let read = read.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?;
        let text = read.map_err(|ended| failed(io::Error::other(ended)))?.map_err(failed)?;
        let token = text.trim_ascii();
        let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        match is_one && text.len() as u64 <= LONGEST_TOKEN {
            true => Ok(Some(token.to_owned())),
            false => Err(GrafanaError::Token { path }),
        }
    }
}

/// The text of a file, or the beginning of one that is too long.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_TOKEN + 1).read_to_string(&mut text)?;
    Ok(text)
}
