//! Links between the pages lead somewhere, and the index of the documentation has every page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use xtask::paths::workspace;

/// The pages that people read: those of the root, of `docs` and of the chart.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in ["", "docs", "docs/decisions", "chart"] {
        let directory = workspace().join(directory);
        let entries = fs::read_dir(&directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages
}

/// Where the links of a page lead, code left out.
fn links(page: &str) -> Vec<&str> {
    let prose = page.split("\n```").step_by(2);
    let links = prose.flat_map(|prose| prose.split("](").skip(1));
    links.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect()
}

/// What a heading is called in links, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|sign| sign.is_alphanumeric() || "-_".contains(*sign)).collect()
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(page).unwrap();
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let is_there = target.exists() && (heading.is_empty() || has_anchor(&target, heading));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_index_has_every_page() {
    let index = fs::read_to_string(workspace().join("docs/README.md")).unwrap();
    let listed = links(&index);
    for page in pages() {
        let name = page.strip_prefix(workspace().join("docs")).ok().and_then(Path::to_str);
        let Some(name) = name.filter(|name| !name.contains('/') && *name != "README.md") else {
            continue;
        };
        assert!(listed.contains(&name), "docs/README.md does not list {name}");
    }
}
