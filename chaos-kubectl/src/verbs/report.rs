//! `report`: says what came of a Run, for people, browsers and programs, on standard output or in a file.

use std::path::Path;

use chaos_api::kinds::Run;
use chaos_controller::REPORT_KEY;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{Api, ResourceExt as _};

use super::why::known;
use crate::{
    cli::{ReportArgs, ReportFile, ReportFormat},
    cluster::{Asked, Cluster, Resource},
    diagnosis::Known,
    exit::Exit,
    failure::Failure,
    follow::Followed,
    output,
    printable::Printable,
    report::{Comparison, Lines, Report, comparison_page, junit, markdown, page},
    run_name::RunName,
    whole_file,
};

/// Reads the Run and what was written beside it, and prints or writes the report. What was found out of the Run is the
/// exit code, also where the report cannot be written.
pub async fn execute(cluster: &Cluster, args: &ReportArgs) -> Result<Exit, Failure> {
    let (run, report) = read(cluster, &args.run).await?;
    let text = match &args.compare {
        None => text(&report, args.output)?,
        Some(other) => {
            let (_, other) = read(cluster, other).await?;
            compared(&Comparison::of(&report, &other), args.output)?
        }
    };
    let told = match &args.file {
        Some(path) => write(path, &text),
        None => output::line(&text),
    };
    let exit = match args.exit_code {
        // Of a Run that goes on, nothing is proven yet.
        true => Exit::of(&run).unwrap_or(Exit::Unproven),
        false => Exit::Done,
    };
    exit.over(told)
}

/// Writes the reports of a Run that has ended, each into its file. All are tried; what failed last is the error, and the
/// others are told before.
pub async fn write_all(
    cluster: &Cluster,
    followed: &Followed,
    files: &[ReportFile],
) -> Result<(), Failure> {
    if files.is_empty() {
        return Ok(());
    }
    if followed.exit == Exit::Interrupted {
        output::note("The Run goes on, so its report is not written.");
        return Ok(());
    }
    let run = &followed.run;
    let name = format!("{}/{}", run.namespace().unwrap_or_default(), run.name_any());
    let (_, report) = read(cluster, &name).await?;
    let written = files.iter().map(|file| write(&file.path, &text(&report, file.format)?));
    let mut failures = written.filter_map(Result::err).collect::<Vec<_>>();
    let last = failures.pop();
    failures.iter().for_each(|failure| output::error_line(&failure.to_string()));
    last.map_or(Ok(()), Err)
}

fn text(report: &Report, format: ReportFormat) -> Result<String, Failure> {
    Ok(match format {
        ReportFormat::Md => markdown(report),
        ReportFormat::Html => page(report),
        ReportFormat::Json => output::json(report)?,
        ReportFormat::Junit => junit(report),
    })
}

fn compared(comparison: &Comparison, format: ReportFormat) -> Result<String, Failure> {
    match format {
        ReportFormat::Md => Ok(comparison.markdown()),
        ReportFormat::Html => Ok(comparison_page(comparison)),
        ReportFormat::Json => output::json(comparison),
        ReportFormat::Junit => Err(Failure::Usage(
            "JUnit has no form for two Runs; write `-o md`, `-o html` or `-o json`".to_owned(),
        )),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let text = format!("{}\n", text.trim_end());
    whole_file::write(path, &text).map_err(|source| Failure::Io {
        what: format!("write the report to {}", path.display()),
        source,
    })
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
