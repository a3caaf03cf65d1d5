//! Says what the objects of a cluster mean. Pure: from what was read to what is told.

pub mod armed;
pub mod doctor;
pub mod leader;
pub mod owner;
pub mod why;

#[cfg(test)]
mod tests;

/// What was read, or why it could not be.
#[derive(Debug, Clone)]
pub enum Known<T> {
    Is(T),
    /// The right to read it is missing, or the request failed; in words.
    No(String),
}

impl<T> Known<T> {
    /// What was read, if it was.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::No(_) => None,
        }
    }
}
