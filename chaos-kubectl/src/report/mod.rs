//! Reports on a Run: its status and the lines that the controller has written beside it become one [`Report`], which is
//! written as Markdown, HTML, JSON or JUnit. Pure.

mod build;
mod compare;
mod html;
mod junit;
mod lines;
mod markdown;
mod model;
#[cfg(test)]
mod tests;
mod words;

pub use compare::Comparison;
pub use html::{comparison as comparison_page, page};
pub use junit::junit;
pub use lines::Lines;
pub use markdown::markdown;
pub use model::Report;
