//! Keeps where a value stands in the document.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};
use serde_saphyr::{Location, Spanned};

/// A value and its place, which no schema knows of. It is read from YAML only.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Placed<T>(Spanned<T>);

impl<T> Placed<T> {
    /// A value that stands nowhere.
    pub fn nowhere(value: T) -> Self {
        Self(Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN))
    }

    /// The value, and where it is referred to.
    pub fn into_parts(self) -> (T, Location) {
        (self.0.value, self.0.referenced)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: OfYaml(value), referenced, defined } =
            Spanned::deserialize(deserializer)?;
        Ok(Self(Spanned::new(value, referenced, defined)))
    }
}

/// A value that only a deserializer which knows newtypes reads, as that of YAML does. `Spanned` reads what is in it by a
/// dozen others, too, for formats that have no places, and each would be a copy of the code that reads a fault: a
/// megabyte.
struct OfYaml<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OfYaml<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("OfYaml", OfYamlVisitor(PhantomData))
    }
}

struct OfYamlVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfYamlVisitor<T> {
    type Value = OfYaml<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value in YAML")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<OfYaml<T>, D::Error> {
        T::deserialize(deserializer).map(OfYaml)
    }
}

impl<T> Deref for Placed<T> {
    type Target = Spanned<T>;

    fn deref(&self) -> &Spanned<T> {
        &self.0
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
