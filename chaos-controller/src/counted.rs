//! Words a count with its noun and its verb: `1 pod is`, `2 pods are`.

use std::fmt::Display;

/// The number and the noun, with an `s` where there is not one.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if is_one(&number) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// `is`, or `are` where there is not one.
pub fn be<N: PartialEq + From<u8>>(number: N) -> &'static str {
    if is_one(&number) { "is" } else { "are" }
}

fn is_one<N: PartialEq + From<u8>>(number: &N) -> bool {
    *number == N::from(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_no_ending() {
        let both = (counted(1_u32, "pod"), counted(2_u32, "pod"));
        assert_eq!(both, ("1 pod".to_owned(), "2 pods".to_owned()));
        let pods = |number: u32| format!("{} {} free", counted(number, "pod"), be(number));
        assert_eq!([0, 1, 2].map(pods), ["0 pods are free", "1 pod is free", "2 pods are free"]);
    }
}
