//! The queries of the dashboard and of the rules, each with the title of its panel or the name of its alert.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::rules_file;

/// With the variables as Grafana puts them in where everything is chosen.
pub fn dashboard() -> Result<Vec<(String, String)>> {
    let path = xtask::paths::workspace().join("manifests/components/monitoring/chaos-agent.json");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("it has panels")? {
        let title = panel["title"].as_str().context("a panel has a title")?;
        for target in panel["targets"].as_array().context("a panel has queries")? {
            queries.push((title.to_owned(), query(&target["expr"])?));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().context("annotations")? {
        queries.push(("annotation".to_owned(), query(&annotation["expr"])?));
    }
    Ok(queries)
}

fn query(expression: &Value) -> Result<String> {
    let mut query = expression.as_str().context("a query is text")?.to_owned();
    for (variable, value) in
        [("$__rate_interval", "1m"), ("$__range", "30m"), ("$namespace", ".*"), ("$run", ".*")]
    {
        query = query.replace(variable, value);
    }
    ensure!(!query.contains('$'), "{query}: what is this variable?");
    Ok(query)
}

pub fn rules() -> Result<Vec<(String, String)>> {
    let file = rules_file()?;
    let groups = file["groups"].as_array().context("there are groups")?;
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let rule = |rule: &Value| {
        let text = |field: &str| rule[field].as_str().map(str::to_owned).context("a rule");
        Ok((text("alert")?, text("expr")?))
    };
    rules.map(rule).collect()
}
