//! Answers whether a program goes on, and whether it is ready: `/healthz` and `/readyz`.

use hyper::StatusCode;

use crate::server::{Page, Pages};

/// What is wrong, in words, if something is.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The two questions of a kubelet.
pub struct Health {
    goes_on: Check,
    is_ready: Check,
}

impl Health {
    /// `goes_on`: starting the program anew would not help. `is_ready`: it does its work.
    pub fn new(
        goes_on: impl Fn() -> Result<(), String> + Send + Sync + 'static,
        is_ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { goes_on: Box::new(goes_on), is_ready: Box::new(is_ready) }
    }
}

impl Pages for Health {
    async fn page(&self, path: &str) -> Option<Page> {
        let check = match path {
            "/healthz" => &self.goes_on,
            "/readyz" => &self.is_ready,
            _ => return None,
        };
        Some(match check() {
            Ok(()) => Page::line(StatusCode::OK, "ok"),
            Err(reason) => Page::line(StatusCode::SERVICE_UNAVAILABLE, &reason),
        })
    }
}
