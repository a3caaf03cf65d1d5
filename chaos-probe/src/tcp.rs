//! Asks whether a connection can be made.

use chaos_api::kinds::TcpProbe;
use chaos_expression::Variables;

use crate::{
    asker::Asker,
    connection::{Patience, Trust, connect},
    duration,
    expectation::{Answer, Expectation},
    location::host_and_port,
    trouble::Trouble,
};

/// Connects, and closes the connection.
pub async fn ask(
    asker: &Asker,
    tcp: &TcpProbe,
    expectation: &Expectation,
) -> Result<Answer, Trouble> {
    let (host, port) = host_and_port(&tcp.address).map_err(Trouble::Question)?;
    let patience = Patience::of(duration::timeout(tcp.timeout.as_deref())?);
    let connected =
        connect(asker.resolver(), &host, port, Trust::Networks(asker.networks()), patience).await;
    let latency = patience.spent();
    let (is_connected, seen) = match connected {
        Ok(_) => (true, format!("connected, {}", duration::shown(latency))),
        // What is expected may be that nobody answers.
        Err(trouble) if trouble.is_failure() && expectation.uses("connected") => {
            (false, trouble.to_string())
        }
        Err(trouble) => return Err(trouble),
    };
    let variables =
        Variables::default().bool("connected", is_connected).duration("latency", latency);
    Ok(Answer { variables, value: Some(latency.as_secs_f64()), seen })
}
