//! Renders mistakes with the line that each is in, and a caret under the word.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Mistake;

/// One mistake of a file that is called `name`.
pub fn render(mistake: &Mistake, file: &str, name: &str, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let start = mistake.span.start.min(file.len());
    let line_start = file[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = file[start..].find('\n').map_or(file.len(), |newline| start + newline);
    let number = file[..line_start].matches('\n').count() + 1;
    let word = start - line_start..mistake.span.end.clamp(start, line_end) - line_start;
    let source = &file[line_start..line_end];
    let snippet = Snippet::source(source)
        .line_start(number)
        .path(name)
        .annotation(AnnotationKind::Primary.span(word));
    let group = Level::ERROR.primary_title(mistake.message.as_str()).element(snippet);
    let group = match &mistake.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    };
    renderer.render(&[group])
}
