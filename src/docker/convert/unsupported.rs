//! Members of Docker's JSON that orc does not act upon, and what follows when one is set.
//!
//! Nothing is dropped in silence: a value other than the neutral ones is refused when someone would
//! rely on it, else named in the warnings. A member that is not even listed is named, too.

use std::collections::BTreeMap;

use orc_base::{Error, Result};
use serde_json::{Value, json};

/// What follows when a member is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It means nothing to a server.
    Nothing,
    /// It would make a difference, but nobody's safety or data depend on it.
    Warn,
    /// Someone relies on it.
    Refuse,
}

/// A member: its name, what follows when it is set, further values that change nothing (as JSON),
/// and what Docker writes for it, where that is not `null`.
struct Row(&'static str, Then, &'static [&'static str], &'static str);

/// Members of `HostConfig`.
const HOST_CONFIG: &[Row] = &[
    Row("Capabilities", Then::Refuse, &[], ""),
    Row("Cgroup", Then::Refuse, &[], r#""""#),
    Row("ConsoleSize", Then::Nothing, &[], "[0,0]"),
    Row("ContainerIDFile", Then::Nothing, &[], r#""""#),
    Row("CpuCount", Then::Warn, &[], "0"),
    Row("CpuPercent", Then::Warn, &[], "0"),
    Row("DeviceRequests", Then::Refuse, &[], "null"),
    Row("IOMaximumBandwidth", Then::Warn, &[], "0"),
    Row("IOMaximumIOps", Then::Warn, &[], "0"),
    Row("Isolation", Then::Refuse, &[r#""default""#], r#""""#),
    Row("KernelMemory", Then::Warn, &[], ""),
    Row("KernelMemoryTCP", Then::Warn, &[], ""),
    Row("LxcConf", Then::Refuse, &[], ""),
    Row("MaskedPaths", Then::Refuse, &[], ""),
    Row("ReadonlyPaths", Then::Refuse, &[], ""),
    Row(
        "Runtime",
        Then::Refuse,
        &[r#""runc""#, r#""io.containerd.runc.v2""#, r#""orc""#],
        r#""orc""#,
    ),
    Row("StorageOpt", Then::Refuse, &[], ""),
    Row("UsernsMode", Then::Refuse, &[r#""host""#], r#""""#),
    Row("VolumeDriver", Then::Refuse, &[r#""local""#], r#""""#),
];

/// Members of the body of a create beside those that are read.
const CONFIG: &[Row] = &[
    Row("ArgsEscaped", Then::Nothing, &[], ""),
    Row("Name", Then::Nothing, &[], ""),
    Row("Platform", Then::Nothing, &[], ""),
    Row("Shell", Then::Warn, &[], ""),
];

/// Members of `HostConfig.Mounts[]` beside those that are read.
const MOUNT: &[Row] = &[Row("ClusterOptions", Then::Refuse, &[], "")];

/// Members of `BindOptions`.
const BIND: &[Row] = &[];

/// Members of the body of a network's create.
const NETWORK: &[Row] = &[];

/// Members of the body of an exec's create.
const EXEC: &[Row] = &[
    // The Python client repeats the address here.
    Row("Container", Then::Nothing, &[], ""),
];

/// Members where nothing is known beside what is read.
const NOTHING_MORE: &[Row] = &[];

/// Where a member was found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// `HostConfig`.
    HostConfig,
    /// The body of a container's create.
    Config,
    /// `HostConfig.Mounts[]`.
    Mount,
    /// `BindOptions` of a mount.
    Bind,
    /// The body of a network's create.
    Network,
    /// The body of an exec's create.
    Exec,
    /// Any other object, by its name.
    Other(&'static str),
}

impl Place {
    fn rows(self) -> &'static [Row] {
        match self {
            Self::HostConfig => HOST_CONFIG,
            Self::Config => CONFIG,
            Self::Mount => MOUNT,
            Self::Bind => BIND,
            Self::Network => NETWORK,
            Self::Exec => EXEC,
            Self::Other(_) => NOTHING_MORE,
        }
    }

    fn name(self, member: &str) -> String {
        match self {
            Self::HostConfig => format!("HostConfig.{member}"),
            Self::Config | Self::Network | Self::Exec => member.into(),
            Self::Mount => format!("HostConfig.Mounts.{member}"),
            Self::Bind => format!("HostConfig.Mounts.BindOptions.{member}"),
            Self::Other(place) => format!("{place}.{member}"),
        }
    }
}

/// Refuses members that cannot be left out, and adds the others that are set to `warnings`.
pub(crate) fn check(
    place: Place,
    members: &BTreeMap<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    for (member, value) in members {
        let row = place
            .rows()
            .iter()
            .find(|row| row.0.eq_ignore_ascii_case(member));
        // An empty list of masked paths unmasks everything: only its absence is neutral.
        let empty_means_much = matches!(member.as_str(), "MaskedPaths" | "ReadonlyPaths");
        if value.is_null() || (is_neutral(value) && !empty_means_much) {
            continue;
        }
        let shown = place.name(&printable(member));
        match row {
            Some(Row(_, Then::Nothing, ..)) => {}
            Some(Row(_, _, neutral, _)) if neutral.contains(&value.to_string().as_str()) => {}
            Some(Row(_, Then::Warn, ..)) => {
                warnings.push(format!("`{shown}` is not supported and was ignored"));
            }
            Some(Row(_, Then::Refuse, ..)) => {
                return Err(Error::unsupported(format!(
                    "`{shown}` is not supported: leave it out"
                )));
            }
            None => warnings.push(format!("`{shown}` is not known and was ignored")),
        }
    }
    Ok(())
}

/// As [`check`], where the answer has no room for warnings: everything that is set is refused.
pub(crate) fn refuse_all(place: Place, members: &BTreeMap<String, Value>) -> Result<()> {
    let mut warnings = Vec::new();
    check(place, members, &mut warnings)?;
    match warnings.is_empty() {
        true => Ok(()),
        false => {
            let names = warnings
                .iter()
                .filter_map(|warning| warning.split('`').nth(1));
            Err(Error::unsupported(format!(
                "`{}` is not supported: leave it out",
                names.collect::<Vec<_>>().join("`, `")
            )))
        }
    }
}

/// What `HostConfig` of an inspected container has beside what orc acts upon.
pub(crate) fn host_config_defaults() -> BTreeMap<String, Value> {
    HOST_CONFIG
        .iter()
        .filter(|row| !row.3.is_empty())
        .map(|row| {
            let value = serde_json::from_str(row.3).unwrap_or(json!(null));
            (row.0.to_owned(), value)
        })
        .collect()
}

/// Go's zero values, also inside lists and objects.
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_neutral),
        Value::Object(members) => members.values().all(is_neutral),
    }
}

/// A foreign name, safe to print.
fn printable(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_host_config(member: &str, value: Value) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        let members = BTreeMap::from([(member.to_owned(), value)]);
        check(Place::HostConfig, &members, &mut warnings)?;
        Ok(warnings)
    }

    #[test]
    fn what_a_client_leaves_alone_is_fine() {
        for (member, value) in host_config_defaults() {
            assert_eq!(
                check_host_config(&member, value).unwrap(),
                [""; 0],
                "{member}"
            );
        }
        for (member, value) in [
            ("Runtime", json!("")),
            ("Runtime", json!("runc")),
            ("ConsoleSize", json!([24, 80])),
            ("MaskedPaths", json!(null)),
            ("Isolation", json!("default")),
            ("SomethingNew", json!({"A": [], "B": null})),
        ] {
            assert_eq!(
                check_host_config(member, value).unwrap(),
                [""; 0],
                "{member}"
            );
        }
    }

    #[test]
    fn what_is_set_is_refused_or_named() {
        for (member, value) in [
            ("DeviceRequests", json!([{"Count": -1}])),
            ("MaskedPaths", json!([])),
            ("Runtime", json!("kata")),
            ("UsernsMode", json!("auto")),
        ] {
            let error = check_host_config(member, value).unwrap_err();
            assert_eq!(error.kind(), orc_base::Kind::Unsupported);
            assert!(error.to_string().contains(member), "{error}");
        }
        for (member, value) in [
            ("CpuPercent", json!(50)),
            ("KernelMemory", json!(1)),
            ("SomethingNew", json!("x")),
        ] {
            let warnings = check_host_config(member, value).unwrap();
            assert!(warnings[0].contains(member), "{warnings:?}");
        }
    }

    #[test]
    fn names_are_printed_harmlessly() {
        let warnings = check_host_config("A\x1b[2J", json!(1)).unwrap();
        assert!(!warnings[0].contains('\x1b'), "{warnings:?}");
    }
}
