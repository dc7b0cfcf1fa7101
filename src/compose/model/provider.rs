//! What programs of this machine provide instead of containers: `provider` and `models` of the files,
//! and what those programs have given so far.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

/// `provider` of a service: a program makes what the service stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// The name of the program, `awesomecloud`.
    #[serde(rename = "type")]
    pub program: String,
    /// What it is told, option by option; an option may be there several times.
    #[serde(deserialize_with = "options")]
    pub options: BTreeMap<String, Vec<String>>,
}

/// A model of the project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    /// What it is called on the machine; its key in the file when absent.
    pub name: Option<String>,
    /// Where it comes from, `ai/smollm2`.
    pub model: String,
    /// How many tokens it sees at once.
    pub context_size: Option<u64>,
    /// Flags for the program that runs it.
    pub runtime_flags: Vec<String>,
}

/// How a service is told about a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ModelUse {
    /// The variable that has its address; `<MODEL>_URL` when absent.
    pub endpoint_var: Option<String>,
    /// The variable that has its name; `<MODEL>_MODEL` when absent.
    pub model_var: Option<String>,
}

/// Variables that a provider gives to the services that depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// They get the name of the provider's service before their own: `DATABASE_URL`.
    pub prefixed: BTreeMap<String, String>,
    /// They are called what the provider calls them.
    pub raw: BTreeMap<String, String>,
}

/// All that programs have given to a project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provided {
    /// By the service that a provider stands for.
    pub services: BTreeMap<String, Given>,
    /// The address of each model, by its key in the file.
    pub endpoints: BTreeMap<String, String>,
}

impl Provided {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.endpoints.is_empty()
    }

    /// Takes over what else was given.
    pub fn extend(&mut self, more: Self) {
        self.services.extend(more.services);
        self.endpoints.extend(more.endpoints);
    }
}

/// A scalar, or a list of scalars, as texts.
fn options<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    use serde_json::Value;
    let scalar = |name: &str, value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(de::Error::custom(format!(
            "provider.options.{name}: text, a number, a boolean or a list of these is expected"
        ))),
    };
    Option::<BTreeMap<String, Value>>::deserialize(deserializer)?
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| {
            let values = match value {
                Value::Array(items) => items
                    .into_iter()
                    .map(|item| scalar(&name, item))
                    .collect::<Result<_, _>>()?,
                one => vec![scalar(&name, one)?],
            };
            Ok((name, values))
        })
        .collect()
}
