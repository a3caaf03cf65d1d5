//! `report`: says what came of a Run, for people, browsers and programs.

use chaos_api::kinds::Run;
use chaos_controller::REPORT_KEY;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{Api, ResourceExt as _};

use super::why::known;
use crate::{
    cli::{Output, ReportArgs, ReportFormat},
    cluster::{Asked, Cluster, Resource},
    diagnosis::Known,
    exit::Exit,
    failure::Failure,
    output,
    printable::Printable,
    report::{Comparison, Lines, Report, comparison_page, junit, markdown, page},
    run_name::RunName,
};

/// Reads the Run and what was written beside it, and prints the report.
pub async fn execute(cluster: &Cluster, args: &ReportArgs) -> Result<Exit, Failure> {
    let (run, report) = read(cluster, &args.run).await?;
    match &args.compare {
        None => print(&report, args.output)?,
        Some(other) => {
            let (_, other) = read(cluster, other).await?;
            compare(&Comparison::of(&report, &other), args.output)?;
        }
    }
    Ok(match args.exit_code {
        // Of a Run that goes on, nothing is proven yet.
        true => Exit::of(&run).unwrap_or(Exit::Unproven),
        false => Exit::Done,
    })
}

fn print(report: &Report, format: ReportFormat) -> Result<(), Failure> {
    match format {
        ReportFormat::Md => output::line(&markdown(report)),
        ReportFormat::Html => output::line(&page(report)),
        ReportFormat::Json => output::object(report, &report.name, Output::Json),
        ReportFormat::Junit => output::line(&junit(report)),
    }
}

fn compare(comparison: &Comparison, format: ReportFormat) -> Result<(), Failure> {
    match format {
        ReportFormat::Md => output::line(&comparison.markdown()),
        ReportFormat::Html => output::line(&comparison_page(comparison)),
        ReportFormat::Json => output::object(comparison, "", Output::Json),
        ReportFormat::Junit => Err(Failure::Usage(
            "JUnit has no form for two Runs; write `-o md`, `-o html` or `-o json`".to_owned(),
        )),
    }
}

async fn read(cluster: &Cluster, name: &str) -> Result<(Run, Report), Failure> {
    let RunName { namespace, name } = &RunName::of(name, cluster)?;
    let asked = || Asked::to("get", Resource::Runs, name, namespace);
    let run = cluster.runs(namespace).get(name).await;
    let run = run.map_err(|error| cluster.explain(error, asked()))?;
    let (lines, notes) = match lines(cluster, namespace, &run).await {
        Ok(lines) => (lines, Vec::new()),
        Err(note) => {
            output::note(&note);
            (Lines::default(), vec![note])
        }
    };
    let report = Report::of(&Printable::of(&run)?, lines, notes);
    Ok((run, report))
}

/// What the controller has written beside the Run. Without that there is a report all the same: the error says what it lacks.
async fn lines(cluster: &Cluster, namespace: &str, run: &Run) -> Result<Lines, String> {
    let lacks = |why: &str| format!("the report has no pods, samples and events: {why}");
    let Some(name) = run.status.as_ref().and_then(|status| status.report.as_ref()) else {
        return Ok(Lines::default());
    };
    let asked = || Asked::to("get", Resource::ConfigMaps, name, namespace);
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let report = match known(cluster, api.get(name).await, asked()) {
        Known::Is(report) => report,
        Known::No(why) => return Err(lacks(&why)),
    };
    // Anybody may have made an object of that name before.
    let is_of_run = |uid: &str| run.metadata.uid.as_deref() == Some(uid);
    if !report.owner_references().iter().any(|owner| is_of_run(&owner.uid)) {
        return Err(lacks(&format!(
            "the ConfigMap {name} does not belong to the Run; somebody else has made it, so the controller could not"
        )));
    }
    let packed = report.binary_data.unwrap_or_default().remove(REPORT_KEY);
    let Some(ByteString(packed)) = packed else {
        return Err(lacks(&format!("the ConfigMap {name} has no {REPORT_KEY}")));
    };
    Lines::unpack(&packed)
        .map_err(|error| lacks(&format!("the ConfigMap {name} cannot be unpacked: {error}")))
}
