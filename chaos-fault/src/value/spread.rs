//! What a latency is drawn from, put together from its parts.

use std::time::Duration;

use crate::{
    mistake::{Clause, Mistake, Problem},
    model::{Distribution, Spread},
};

/// `several` is a list or a file, which take the place of the one latency that jitter and distribution
/// go with. `None` where there is neither.
pub(crate) fn spread(
    by: Option<Duration>,
    several: Option<Spread>,
    jitter: Option<Duration>,
    distribution: Option<Distribution>,
) -> Result<Option<Spread>, Problem> {
    let Some(several) = several else {
        return Ok(by.map(|by| Spread::Around { by, jitter, distribution }));
    };
    for (clause, what, present) in [
        (Clause::By, "one more", by.is_some()),
        (Clause::Jitter, "jitter", jitter.is_some()),
        (Clause::Distribution, "a distribution", distribution.is_some()),
    ] {
        if present {
            let mistake = Mistake::new(format!("several latencies do not take {what}"))
                .help("a list or a file says it all: `delay 1ms, 2ms*3, 40ms`");
            return Err(Problem { clause, mistake });
        }
    }
    Ok(Some(several))
}
