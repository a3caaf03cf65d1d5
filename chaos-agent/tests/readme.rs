//! The sentences of the README are sentences of the language.

#[test]
fn the_language_in_fifteen_lines_is_the_language() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("## The language in fifteen lines").expect("the section");
    let mut fences = section.split("```\n");
    let sentences = fences.nth(1).expect("a fence");
    assert_eq!(sentences.lines().count(), 15);
    match chaos_fault::parse(sentences) {
        // One of the lines has two.
        Ok(faults) => assert_eq!(faults.len(), 16),
        Err(errors) => panic!("{}", errors.render(sentences, "README.md", false)),
    }
}
