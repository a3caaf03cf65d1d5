//! Renders mistakes with the line that each is in, and a caret under the word.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Mistake;
use crate::printable::printable;

/// One mistake of a file that is called `name`. The file is a stranger's: what a terminal would obey is taken out, here of
/// messages and of C1 characters in the line, by the renderer of everything else in it.
pub fn render(mistake: &Mistake, file: &str, name: &str, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let start = mistake.span.start.min(file.len());
    let line_start = file[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = file[start..].find('\n').map_or(file.len(), |newline| start + newline);
    let number = file[..line_start].matches('\n').count() + 1;
    let word = start - line_start..mistake.span.end.clamp(start, line_end) - line_start;
    // As many bytes as before: the place of the word stays.
    let is_c1 = |character: char| ('\u{80}'..='\u{9f}').contains(&character);
    let source = file[line_start..line_end].replace(is_c1, "\u{bf}");
    let (name, message) = (printable(name), printable(&mistake.message));
    let snippet = Snippet::source(source.as_str())
        .line_start(number)
        .path(name.as_str())
        .annotation(AnnotationKind::Primary.span(word));
    let group = Level::ERROR.primary_title(message.as_str()).element(snippet);
    let help = mistake.help.as_deref().map(printable);
    let group = match &help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_strangers_change_no_terminal() {
        let file = "\u{1b}[2J\u{9b}31m dorp: \u{202e}x\n";
        let at = file.find("dorp").unwrap();
        let mistake = Mistake {
            message: "`\u{1b}]0;x\u{7}` is no field".to_owned(),
            help: Some("\u{9b}2J".to_owned()),
            span: at..at + 4,
        };
        let text = render(&mistake, file, "a\u{1b}.yaml", false);
        let is_obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(text.contains("dorp") && text.contains("^^^^"), "{text}");
        assert!(!text.contains(is_obeyed), "{text:?}");
    }
}
