//! Asks Prometheus or Alertmanager: the server that a probe names, or the one of the controller's flag.

use crate::{
    asker::Asker,
    connection::{Patience, Trust},
    exchange::{Request, Response, exchange},
    location::Location,
    trouble::Trouble,
};

/// In bytes, of an answer.
const MOST: usize = 1 << 20;

/// Where a question may go.
pub struct Server<'s> {
    pub name: &'static str,
    /// The URL that the probe says.
    pub own: Option<&'s str>,
    /// The one that the flag says.
    pub by_flag: Option<&'s str>,
    pub flag: &'static str,
}

impl Server<'_> {
    /// Gets what is below its URL.
    pub async fn get(
        self,
        asker: &Asker,
        (path, query): (&str, &str),
        patience: Patience,
    ) -> Result<Response, Trouble> {
        let Self { name, own, by_flag, flag } = self;
        let (url, trust) = match (own, by_flag) {
            (Some(url), _) => (url, Trust::Networks(asker.networks())),
            (None, Some(url)) => (url, Trust::Flag),
            (None, None) => {
                let remedy = format!("start the controller with `{flag}`, or write `url`");
                return Err(Trouble::Question(format!("there is no {name}; {remedy}")));
            }
        };
        let location = Location::of_url(url).map_err(Trouble::Question)?.below(path, query);
        exchange(asker, Request::get(location, MOST), trust, patience).await
    }
}
