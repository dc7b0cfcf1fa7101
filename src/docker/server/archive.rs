//! Files of containers: copied in and out, exported, compared, and made an image.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use orc_base::{Error, Result};
use orc_host::archive::{CommitSpec, PathStat, WriteOptions};

use crate::convert::archive::{self, PATH_STAT};
use crate::convert::image::familiar;
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::wire::archive as wire;

const TAR: &str = "application/x-tar";

/// `HEAD /containers/{}/archive`
pub(crate) async fn stat(call: Call) -> Result<Reply> {
    let path = call.query.needed("path")?;
    let stat = call.host.stat_path(&call.name, path).await?;
    with_stat(reply::empty(StatusCode::OK), &stat)
}

/// `GET /containers/{}/archive`
pub(crate) async fn read(call: Call) -> Result<Reply> {
    let path = call.query.needed("path")?;
    let found = call.host.read_path(&call.name, path).await?;
    with_stat(reply::stream(TAR, found.tar), &found.stat)
}

fn with_stat(mut reply: Reply, stat: &PathStat) -> Result<Reply> {
    let value = HeaderValue::from_str(&archive::stat_to_header(stat)?)
        .map_err(|error| Error::internal(error.to_string()))?;
    reply.headers_mut().insert(PATH_STAT, value);
    Ok(reply)
}

/// `PUT /containers/{}/archive`
pub(crate) async fn write(call: Call) -> Result<Reply> {
    let path = call.query.needed("path")?.to_owned();
    let options = WriteOptions {
        keeps_kinds: call.query.flag("noOverwriteDirNonDir"),
        as_user: call.query.flag("copyUIDGID"),
    };
    let (host, name) = (call.host.clone(), call.name.clone());
    host.write_path(&name, &path, call.into_stream(), options)
        .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /orc/containers/{}/remove-paths`
pub(crate) async fn remove(mut call: Call) -> Result<Reply> {
    let body: wire::RemovePaths = call.json().await?;
    call.host.remove_paths(&call.name, &body.paths).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /containers/{}/export`
pub(crate) async fn export(call: Call) -> Result<Reply> {
    let tar = call.host.export_container(&call.name).await?;
    Ok(reply::stream(TAR, tar))
}

/// `GET /containers/{}/changes`
pub(crate) async fn changes(call: Call) -> Result<Reply> {
    let changes = call.host.container_changes(&call.name).await?;
    let rows: Vec<_> = changes.iter().map(archive::change_to_wire).collect();
    reply::ok(&rows)
}

/// `POST /commit`
pub(crate) async fn commit(mut call: Call) -> Result<Reply> {
    let config: serde_json::Value = call.json_or_default().await?;
    let is_empty = match &config {
        serde_json::Value::Null => true,
        serde_json::Value::Object(members) => members.values().all(serde_json::Value::is_null),
        _ => false,
    };
    if !is_empty {
        return Err(Error::unsupported(
            "a config in the body of a commit: say what is to change with the parameter `changes`",
        ));
    }
    let query = &call.query;
    let tag = query.get("tag");
    let reference = query.get("repo").map(|repo| match tag {
        Some(tag) => format!("{}:{tag}", familiar(repo)),
        None => familiar(repo).to_owned(),
    });
    let changes = query.all("changes").flat_map(str::lines);
    let spec = CommitSpec {
        reference,
        author: query.get("author").unwrap_or_default().into(),
        message: query.get("comment").unwrap_or_default().into(),
        changes: changes
            .filter(|line| !line.trim().is_empty())
            .map(String::from)
            .collect(),
        // Docker freezes unless it is told not to.
        pause: query.get("pause").is_none() || query.flag("pause"),
    };
    let name = query.needed("container")?;
    let id = call.host.commit_container(name, &spec).await?;
    reply::json(StatusCode::CREATED, &wire::CommitReply { id })
}
