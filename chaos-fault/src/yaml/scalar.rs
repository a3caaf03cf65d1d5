//! Leaves of a YAML fault.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::placed::Placed;

/// One word of the language. YAML tells `53` from `10%`, the language does not: both are kept
/// as written and read by the same code as in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scalar {
    Number(u64),
    Word(String),
}

/// A word and where it stands.
pub(crate) type Leaf = Placed<Scalar>;

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Word(word) => serializer.serialize_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word or a number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(u64::try_from(number).map_or(Scalar::Word(number.to_string()), Scalar::Number))
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<Scalar, E> {
        Ok(Scalar::Word(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Word(number.to_string()))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Word(truth.to_string()))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Scalar, E> {
        Ok(Scalar::Word(word.to_owned()))
    }
}
