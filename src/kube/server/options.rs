//! From a query to the options of a call. Pure; 400 for values that mean nothing.

use serde_json::Value;

use crate::kind::ObjectKind;
use crate::objects::{
    DeleteOptions, FieldValidation, ListOptions, Propagation, VersionMatch, WatchOptions,
    WriteOptions,
};
use crate::selector::{FieldSelector, LabelSelector};
use crate::server::request::Query;
use crate::status::{Result, Status};

/// Characters of a field manager's name, at most, as in Kubernetes.
const MAX_MANAGER: usize = 128;

pub(super) fn list(kind: &ObjectKind, query: &Query) -> Result<ListOptions> {
    let (labels, fields) = selectors(kind, query)?;
    let limit = query.number("limit")?.unwrap_or_default();
    Ok(ListOptions {
        labels,
        fields,
        version: query.text("resourceVersion").to_owned(),
        version_match: version_match(query)?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        continue_token: query.text("continue").to_owned(),
    })
}

pub(super) fn watch(kind: &ObjectKind, query: &Query) -> Result<WatchOptions> {
    let (labels, fields) = selectors(kind, query)?;
    Ok(WatchOptions {
        labels,
        fields,
        version: query.text("resourceVersion").to_owned(),
        version_match: version_match(query)?,
        bookmarks: query.flag("allowWatchBookmarks")?,
        initial: query.maybe_flag("sendInitialEvents")?,
    })
}

fn selectors(kind: &ObjectKind, query: &Query) -> Result<(LabelSelector, FieldSelector)> {
    let labels = LabelSelector::parse(query.text("labelSelector"))?;
    let fields = FieldSelector::parse(query.text("fieldSelector"))?;
    fields.check(kind)?;
    Ok((labels, fields))
}

fn version_match(query: &Query) -> Result<VersionMatch> {
    match query.text("resourceVersionMatch") {
        "" => Ok(VersionMatch::Unset),
        "Exact" => Ok(VersionMatch::Exact),
        "NotOlderThan" => Ok(VersionMatch::NotOlderThan),
        other => Err(Status::bad_request(format!(
            "resourceVersionMatch is \"Exact\" or \"NotOlderThan\", not {other:?}"
        ))),
    }
}

/// `agent` is the client's name for itself: whose fields they are when it does not say.
pub(super) fn write(query: &Query, agent: &str) -> Result<WriteOptions> {
    let manager = match query.text("fieldManager") {
        "" => agent.split('/').next().unwrap_or_default(),
        manager => manager,
    };
    let manager: String = manager.chars().filter(|c| !c.is_control()).collect();
    if manager.chars().count() > MAX_MANAGER {
        return Err(Status::bad_request(format!(
            "fieldManager may have {MAX_MANAGER} characters"
        )));
    }
    let validation = match query.text("fieldValidation") {
        "" | "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        other => {
            return Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Warn\", \"Strict\""
            )));
        }
    };
    Ok(WriteOptions {
        dry_run: dry_run(query.all("dryRun"))?,
        manager,
        force: query.flag("force")?,
        validation,
    })
}

/// What the query says, and what the body says beyond it.
pub(super) fn delete(query: &Query, body: Option<&Value>) -> Result<DeleteOptions> {
    let body = body.unwrap_or(&Value::Null);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let precondition = |field| text(body.get("preconditions").and_then(|p| p.get(field)));
    let grace = match body.get("gracePeriodSeconds").and_then(Value::as_i64) {
        Some(grace) => Some(grace),
        None => match query.text("gracePeriodSeconds") {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                Status::bad_request("gracePeriodSeconds is a whole number".to_owned())
            })?),
        },
    };
    if grace.is_some_and(|grace| grace < 0) {
        return Err(Status::bad_request("gracePeriodSeconds is not negative"));
    }
    let policy = match text(body.get("propagationPolicy")) {
        Some(policy) => policy,
        None => query.text("propagationPolicy").to_owned(),
    };
    let orphan = body
        .get("orphanDependents")
        .and_then(Value::as_bool)
        .or(query.maybe_flag("orphanDependents")?);
    let propagation = match (policy.as_str(), orphan) {
        ("Background", _) | ("", Some(false)) => Some(Propagation::Background),
        ("Foreground", _) => Some(Propagation::Foreground),
        ("Orphan", _) | ("", Some(true)) => Some(Propagation::Orphan),
        ("", None) => None,
        (other, _) => {
            return Err(Status::bad_request(format!(
                "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
            )));
        }
    };
    let in_body = body
        .get("dryRun")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let dry = in_body.filter_map(Value::as_str).chain(query.all("dryRun"));
    Ok(DeleteOptions {
        grace_s: grace,
        propagation,
        uid: precondition("uid"),
        version: precondition("resourceVersion"),
        dry_run: dry_run(dry)?,
    })
}

fn dry_run<'v>(mut values: impl Iterator<Item = &'v str>) -> Result<bool> {
    values.try_fold(false, |_, value| match value {
        "All" => Ok(true),
        other => Err(Status::bad_request(format!(
            "dryRun: Unsupported value: {other:?}: supported values: \"All\""
        ))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::POD;
    use serde_json::json;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn reads_what_kubectl_sends() {
        let text = "fieldManager=kubectl&fieldValidation=Strict&dryRun=All&force=true";
        let options = write(&query(text), "").unwrap();
        assert!(options.dry_run && options.force);
        assert_eq!(options.manager, "kubectl");
        assert_eq!(options.validation, FieldValidation::Strict);
        let named = write(&query(""), "kubectl/v1.32.4 (linux/amd64)").unwrap();
        assert_eq!(named.manager, "kubectl");
        let body = json!({ "propagationPolicy": "Foreground", "gracePeriodSeconds": 0 });
        let options = delete(&query("gracePeriodSeconds=9"), Some(&body)).unwrap();
        assert_eq!(options.grace_s, Some(0));
        assert_eq!(options.propagation, Some(Propagation::Foreground));
    }

    #[test]
    fn refuses_what_means_nothing() {
        for text in ["dryRun=Some", "fieldValidation=Perhaps", "force=2"] {
            assert_eq!(write(&query(text), "").unwrap_err().code(), 400, "{text}");
        }
        for text in [
            "resourceVersionMatch=x",
            "limit=-1",
            "labelSelector=a%20in",
            "fieldSelector=spec.unknown%3Dx",
        ] {
            assert_eq!(list(&POD, &query(text)).unwrap_err().code(), 400, "{text}");
        }
        for text in [
            "propagationPolicy=x",
            "gracePeriodSeconds=-5",
            "gracePeriodSeconds=a",
        ] {
            assert_eq!(
                delete(&query(text), None).unwrap_err().code(),
                400,
                "{text}"
            );
        }
    }
}
