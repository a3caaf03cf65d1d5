//! Says which verbs may be used.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chaos_fault::{Verb, verbs};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Stands in a list for all verbs that are not destructive.
const DEFAULT: &str = "default";

/// Verbs by the words that their sentences begin with. The default has all that are not destructive: what those break
/// is whole again when the fault ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct AllowedVerbs(BTreeSet<&'static str>);

/// There is no such verb.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{word}` is no verb; write some of {DEFAULT}, {known}")]
pub struct UnknownVerb {
    word: String,
    known: String,
}

impl Default for AllowedVerbs {
    fn default() -> Self {
        Self(verbs().filter(|verb| !verb.is_destructive).map(|verb| verb.words).collect())
    }
}

impl AllowedVerbs {
    /// Every verb that there is.
    pub fn all() -> Self {
        Self(verbs().map(|verb| verb.words).collect())
    }

    /// Those of a list with commas between; what is no verb that is known here is left out.
    pub fn read_known(list: &str) -> Self {
        Self(words(list).filter_map(read).flat_map(|Self(verbs)| verbs).collect())
    }

    /// Whether this one may be used.
    pub fn admits(&self, verb: &Verb) -> bool {
        self.0.contains(verb.words())
    }
}

/// The words of a list, each with single blanks.
fn words(list: &str) -> impl Iterator<Item = String> {
    let words = list.split(',').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|word| !word.is_empty())
}

fn read(word: String) -> Option<AllowedVerbs> {
    if word.eq_ignore_ascii_case(DEFAULT) {
        return Some(AllowedVerbs::default());
    }
    let verb = verbs().find(|verb| verb.words.eq_ignore_ascii_case(&word))?;
    Some(AllowedVerbs([verb.words].into()))
}

impl FromStr for AllowedVerbs {
    type Err = UnknownVerb;

    fn from_str(list: &str) -> Result<Self, UnknownVerb> {
        let mut all = BTreeSet::new();
        for word in words(list) {
            let unknown = || UnknownVerb { word: word.clone(), known: Self::all().to_string() };
            all.extend(read(word.clone()).ok_or_else(unknown)?.0);
        }
        Ok(Self(all))
    }
}

/// What an agent says that knows more verbs is read as far as it is known.
impl From<String> for AllowedVerbs {
    fn from(list: String) -> Self {
        Self::read_known(&list)
    }
}

impl From<AllowedVerbs> for String {
    fn from(verbs: AllowedVerbs) -> Self {
        verbs.to_string()
    }
}

impl fmt::Display for AllowedVerbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().copied().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use chaos_fault::Fault;

    use super::*;

    fn admits(allowed: &AllowedVerbs, sentence: &str) -> bool {
        allowed.admits(&sentence.parse::<Fault>().unwrap().verb)
    }

    #[test]
    fn destructive_verbs_have_to_be_named() {
        let killing = "kill accept";
        assert!(!admits(&AllowedVerbs::default(), killing));
        assert!(admits(&AllowedVerbs::default(), "fail dns with REFUSED for *"));
        assert!(admits(&AllowedVerbs::all(), killing));
        let named: AllowedVerbs = "default, KILL, kill container".parse().unwrap();
        assert_eq!(named, AllowedVerbs::all());
    }

    #[test]
    fn lists_are_read_and_written() {
        let few: AllowedVerbs = "drop,  delay , fail   dns,".parse().unwrap();
        assert_eq!(few.to_string(), "delay, drop, fail dns");
        assert_eq!(few.to_string().parse(), Ok(few.clone()));
        assert!(admits(&few, "drop") && !admits(&few, "fail read with EIO"));
        assert!(admits(&few, "fail dns with REFUSED for *") && !admits(&few, "reset"));
        assert_eq!("".parse(), Ok(AllowedVerbs(BTreeSet::new())));
        let error = "drop, drip".parse::<AllowedVerbs>().unwrap_err().to_string();
        assert!(
            error.starts_with("`drip` is no verb; write some of default, corrupt, "),
            "{error}"
        );
        // What only a later version knows admits nothing here.
        assert_eq!(AllowedVerbs::read_known("drip, drop, \u{0}"), "drop".parse().unwrap());
        let json = serde_json::to_string(&few).unwrap();
        assert_eq!(serde_json::from_str::<AllowedVerbs>(&json).unwrap(), few);
    }
}
