//! The README names the tests behind its promises.

use std::fs;

use xtask::paths::workspace;

#[test]
fn every_test_named_in_the_readme_exists() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let named: Vec<(&str, &str)> =
        readme.split('`').filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() >= 10, "the table of promises is gone: {named:?}");
    for (file, test) in named {
        let path = workspace().join(file).with_extension("rs");
        let source = fs::read_to_string(&path).unwrap_or_default();
        assert!(source.contains(&format!("fn {test}(")), "{} has no {test}", path.display());
    }
}
