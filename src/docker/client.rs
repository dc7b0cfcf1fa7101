//! A client of the API that is a [`Host`]: what is asked of it is asked of the daemon.
//!
//! One method a call, in the order of the trait. Names are encoded, kinds of errors come back, and
//! streams are read no faster than they are consumed.

mod address;
mod attach;
mod connection;
mod request;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use orc_base::{Error, Result};
use orc_host::Host;
use orc_host::archive::{CommitSpec, PathArchive, PathChange, PathStat, WriteOptions};
use orc_host::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, RemoveOptions, Top, WaitFor,
};
use orc_host::event::{Event, EventFilter};
use orc_host::exec::{Exec, ExecSpec};
use orc_host::image::{Credentials, Image, ImportSource, ImportTar, Progress, Removal};
use orc_host::image_build::{BuildEvent, BuildRequest};
use orc_host::network::{EndpointSpec, Network, NetworkSpec};
use orc_host::registry::{Artifact, Found, Login, PulledArtifact, ServeEvent, ServeSpec};
use orc_host::stats::Stats;
use orc_host::stop::StopOptions;
use orc_host::storage::{CachePrune, CheckOptions, CheckReport, DiskUsage, UsageOf};
use orc_host::stream::{Attached, Bytes, LogLine, LogOptions, Output, Stream, TerminalSize};
use orc_host::system::Info;
use orc_host::unused::{Prunable, Prune, Pruned};
use orc_host::update::ContainerUpdate;
use orc_host::volume::{Volume, VolumeSpec};

use crate::body;
use crate::client::address::Address;
use crate::client::connection::Connections;
use crate::client::request::Ask;
use crate::convert::{
    archive, build, container, create, disk, endpoint, event, exec, filter, image, info, kind,
    network, progress, registry, stats, time, update, volume,
};
use crate::stream::{Frames, parse_line};
use crate::wire;

/// A machine behind a unix socket. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    connections: Arc<Connections>,
}

impl Client {
    /// Connects to the daemon that listens at `socket` and sees that it answers.
    ///
    /// `Unavailable` when nobody does: a caller may start one. `Denied` when the socket may not be
    /// opened, `Unsupported` when something else than orc answers.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let client = Self {
            connections: Arc::new(Connections::new(socket)),
        };
        client.ping().await?;
        Ok(client)
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        self.connections.socket()
    }

    /// Sees that the daemon answers.
    pub async fn ping(&self) -> Result<()> {
        let answer = Ask::get(Address::new("/_ping"))
            .answer(&self.connections)
            .await?;
        let server = answer
            .headers()
            .get("server")
            .and_then(|server| server.to_str().ok());
        match server {
            Some(server) if server.starts_with("orc") => Ok(()),
            _ => Err(Error::unsupported(format!(
                "what answers at {} is {}, not orc",
                self.socket().display(),
                server.unwrap_or("something unknown")
            ))),
        }
    }

    async fn post(&self, pattern: &str, name: &str) -> Result<()> {
        Ask::post(Address::of(pattern, name))
            .done(&self.connections)
            .await
    }

    async fn transfer(&self, ask: Ask) -> Result<Stream<Progress>> {
        let lines = ask
            .lines::<wire::message::Message>(&self.connections)
            .await?;
        Ok(until_error(
            lines.map(|line| line.and_then(progress::from_wire)),
        ))
    }
}

/// An error item is the last one.
fn until_error<T: Send + 'static>(
    items: impl futures_util::Stream<Item = Result<T>> + Send + 'static,
) -> Stream<T> {
    let state = (Box::pin(items), false);
    Box::pin(stream::unfold(state, |(mut items, failed)| async move {
        if failed {
            return None;
        }
        let item = items.next().await?;
        let failed = item.is_err();
        Some((item, (items, failed)))
    }))
}

/// Asks for an end. Seconds have a fraction when there is one: this server reads what Docker's would not.
fn ending(path: &'static str, name: &str, how: &StopOptions) -> Address {
    let seconds = how
        .timeout
        .map(|timeout| time::seconds_value(timeout).to_string());
    Address::of(path, name)
        .maybe("t", seconds.as_deref())
        .maybe("signal", how.signal.as_deref())
}

fn sized(address: Address, size: TerminalSize) -> Address {
    address
        .with("h", &size.rows.to_string())
        .with("w", &size.columns.to_string())
}

fn with_credentials(ask: Ask, credentials: Option<&Credentials>) -> Result<Ask> {
    Ok(match credentials {
        Some(credentials) => ask.header("x-registry-auth", image::auth_to_header(credentials)?),
        None => ask,
    })
}

fn path_stat(headers: &hyper::HeaderMap) -> Result<PathStat> {
    let header = headers.get(archive::PATH_STAT);
    let header = header.and_then(|value| value.to_str().ok());
    archive::stat_from_header(header.unwrap_or_default())
}

#[async_trait]
impl Host for Client {
    async fn info(&self) -> Result<Info> {
        info::from_wire(
            Ask::get(Address::new("/info"))
                .read(&self.connections)
                .await?,
        )
    }

    async fn events(&self, wanted: EventFilter) -> Result<Stream<Event>> {
        let address = Address::new("/events")
            .maybe("since", wanted.since.map(time::seconds).as_deref())
            .maybe("until", wanted.until.map(time::seconds).as_deref())
            .filtered(&filter::of_events(&wanted));
        let lines = Ask::get(address).lines(&self.connections).await?;
        Ok(until_error(
            lines.map(|line| line.and_then(event::from_wire)),
        ))
    }

    async fn create_container(&self, name: Option<&str>, spec: &ContainerSpec) -> Result<Created> {
        let address = Address::new("/containers/create")
            .maybe("name", name)
            .maybe("platform", spec.platform.as_deref());
        let reply: wire::container::CreateReply = Ask::post(address)
            .json(&create::body(spec)?)?
            .read(&self.connections)
            .await?;
        Ok(Created {
            id: reply.id,
            warnings: reply.warnings,
        })
    }

    async fn start_container(&self, name: &str) -> Result<()> {
        self.post("/containers/{}/start", name).await
    }

    async fn stop_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        Ask::post(ending("/containers/{}/stop", name, how))
            .done(&self.connections)
            .await
    }

    async fn kill_container(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let address = Address::of("/containers/{}/kill", name).maybe("signal", signal);
        Ask::post(address).done(&self.connections).await
    }

    async fn restart_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        Ask::post(ending("/containers/{}/restart", name, how))
            .done(&self.connections)
            .await
    }

    async fn pause_container(&self, name: &str) -> Result<()> {
        self.post("/containers/{}/pause", name).await
    }

    async fn unpause_container(&self, name: &str) -> Result<()> {
        self.post("/containers/{}/unpause", name).await
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let address = Address::of("/containers/{}/rename", name).with("name", new_name);
        Ask::post(address).done(&self.connections).await
    }

    async fn update_container(&self, name: &str, change: &ContainerUpdate) -> Result<Vec<String>> {
        let reply: wire::container::UpdateReply =
            Ask::post(Address::of("/containers/{}/update", name))
                .json(&update::to_wire(change))?
                .read(&self.connections)
                .await?;
        Ok(reply.warnings)
    }

    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        let address = Address::of("/containers/{}", name)
            .flag("force", options.force)
            .flag("v", options.volumes);
        Ask::delete(address).done(&self.connections).await
    }

    async fn inspect_container(&self, name: &str) -> Result<Container> {
        let address = Address::of("/containers/{}/json", name).extended();
        container::from_wire(&Ask::get(address).read(&self.connections).await?)
    }

    async fn list_containers(&self, wanted: &ContainerFilter) -> Result<Vec<Container>> {
        let address = Address::new("/containers/json")
            .flag("all", wanted.all)
            .maybe(
                "limit",
                wanted.limit.map(|limit| limit.to_string()).as_deref(),
            )
            .filtered(&filter::of_containers(wanted))
            .extended();
        let rows: Vec<wire::container::Summary> = Ask::get(address).read(&self.connections).await?;
        rows.iter()
            .map(|row| match &row.orc_inspect {
                Some(inspect) => container::from_wire(inspect),
                None => Err(Error::internal("the daemon did not say enough")),
            })
            .collect()
    }

    async fn wait_container(&self, name: &str, until: WaitFor) -> Result<Exit> {
        let condition = match until {
            WaitFor::NotRunning => "not-running",
            WaitFor::NextExit => "next-exit",
            WaitFor::Removed => "removed",
        };
        let address = Address::of("/containers/{}/wait", name).with("condition", condition);
        let reply: wire::container::WaitReply = Ask::post(address.extended())
            .read(&self.connections)
            .await?;
        match (reply.orc_exit, reply.error) {
            (_, Some(error)) => Err(Error::new(
                kind::of(Some(&reply.orc_kind), 500),
                error.message,
            )),
            (Some(exit), None) => Ok(exit),
            (None, None) => Err(Error::internal("the daemon did not say how it ended")),
        }
    }

    async fn logs(&self, name: &str, options: &LogOptions) -> Result<Stream<LogLine>> {
        let wants = |output| options.only.is_none_or(|only| only == output);
        let address = Address::of("/containers/{}/logs", name)
            .flag("stdout", wants(Output::Stdout))
            .flag("stderr", wants(Output::Stderr))
            .flag("follow", options.follow)
            .flag("timestamps", true)
            .maybe(
                "tail",
                options.tail.map(|lines| lines.to_string()).as_deref(),
            )
            .maybe("since", options.since.map(time::seconds).as_deref())
            .maybe("until", options.until.map(time::seconds).as_deref())
            .extended();
        let chunks = Ask::get(address).decoded(&self.connections, Frames).await?;
        Ok(until_error(chunks.map(|chunk| parse_line(&chunk?))))
    }

    async fn attach_container(&self, name: &str) -> Result<Attached> {
        let address = Address::of("/containers/{}/attach", name)
            .flag("stream", true)
            .flag("stdin", true)
            .flag("stdout", true)
            .flag("stderr", true)
            .extended();
        attach::open(Ask::post(address), &self.connections).await
    }

    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()> {
        let address = sized(Address::of("/containers/{}/resize", name), size);
        Ask::post(address).done(&self.connections).await
    }

    async fn top(&self, name: &str) -> Result<Top> {
        let address = Address::of("/containers/{}/top", name);
        let top: wire::container::Top = Ask::get(address).read(&self.connections).await?;
        Ok(Top {
            titles: top.titles,
            processes: top.processes,
        })
    }

    async fn stats(&self, name: &str) -> Result<Stats> {
        let address = Address::of("/containers/{}/stats", name).extended();
        stats::from_wire(Ask::get(address).read(&self.connections).await?)
    }

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        let address = Address::of("/containers/{}/archive", name).with("path", path);
        let answer = Ask::head(address).answer(&self.connections).await;
        // An answer to HEAD has no words: the same question by GET has.
        let answer = match answer {
            Err(_) => return self.read_path(name, path).await.map(|found| found.stat),
            Ok(answer) => answer,
        };
        path_stat(answer.headers())
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        let address = Address::of("/containers/{}/archive", name).with("path", path);
        let answer = Ask::get(address).open(&self.connections).await?;
        Ok(PathArchive {
            stat: path_stat(answer.headers())?,
            tar: body::stream(answer.into_body()),
        })
    }

    async fn write_path(
        &self,
        name: &str,
        path: &str,
        tar: Stream<Bytes>,
        options: WriteOptions,
    ) -> Result<()> {
        let address = Address::of("/containers/{}/archive", name)
            .with("path", path)
            .flag("noOverwriteDirNonDir", options.keeps_kinds)
            .flag("copyUIDGID", options.as_user);
        Ask::put(address).tar(tar).done(&self.connections).await
    }

    async fn remove_paths(&self, name: &str, paths: &[String]) -> Result<()> {
        let body = wire::archive::RemovePaths {
            paths: paths.to_vec(),
        };
        let address = Address::of("/orc/containers/{}/remove-paths", name);
        Ask::post(address)
            .json(&body)?
            .done(&self.connections)
            .await
    }

    async fn export_container(&self, name: &str) -> Result<Stream<Bytes>> {
        let address = Address::of("/containers/{}/export", name);
        Ask::get(address).bytes(&self.connections).await
    }

    async fn container_changes(&self, name: &str) -> Result<Vec<PathChange>> {
        let address = Address::of("/containers/{}/changes", name);
        let rows: Vec<wire::archive::Change> = Ask::get(address).read(&self.connections).await?;
        rows.into_iter().map(archive::change_from_wire).collect()
    }

    async fn commit_container(&self, name: &str, spec: &CommitSpec) -> Result<String> {
        let pause = if spec.pause { "1" } else { "0" };
        let address = Address::new("/commit")
            .with("container", name)
            .maybe("repo", spec.reference.as_deref())
            .with("author", &spec.author)
            .with("comment", &spec.message)
            .with("pause", pause);
        let address = spec
            .changes
            .iter()
            .fold(address, |address, change| address.with("changes", change));
        let reply: wire::archive::CommitReply = Ask::post(address).read(&self.connections).await?;
        Ok(reply.id)
    }

    async fn create_exec(&self, name: &str, spec: &ExecSpec) -> Result<String> {
        let ask = Ask::post(Address::of("/containers/{}/exec", name)).json(&exec::body(spec))?;
        let reply: wire::exec::CreateReply = ask.read(&self.connections).await?;
        Ok(reply.id)
    }

    async fn start_exec(&self, exec: &str, detach: bool) -> Result<Attached> {
        let body = wire::exec::StartBody {
            detach,
            ..Default::default()
        };
        let ask = Ask::post(Address::of("/exec/{}/start", exec).extended()).json(&body)?;
        if !detach {
            return attach::open(ask, &self.connections).await;
        }
        ask.done(&self.connections).await?;
        Ok(Attached {
            input: None,
            output: Box::pin(stream::empty()),
            terminal: false,
        })
    }

    async fn inspect_exec(&self, exec: &str) -> Result<Exec> {
        let address = Address::of("/exec/{}/json", exec).extended();
        exec::from_wire(Ask::get(address).read(&self.connections).await?)
    }

    async fn resize_exec(&self, exec: &str, size: TerminalSize) -> Result<()> {
        let address = sized(Address::of("/exec/{}/resize", exec), size);
        Ask::post(address).done(&self.connections).await
    }

    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
        credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        let address = Address::new("/images/create")
            .with("fromImage", reference)
            .maybe("platform", platform)
            .extended();
        self.transfer(with_credentials(Ask::post(address), credentials.as_ref())?)
            .await
    }

    async fn push_image(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        let address = Address::of("/images/{}/push", reference).extended();
        self.transfer(with_credentials(Ask::post(address), credentials.as_ref())?)
            .await
    }

    async fn tag_image(&self, name: &str, reference: &str) -> Result<()> {
        let address = Address::of("/images/{}/tag", name).with("repo", reference);
        Ask::post(address).done(&self.connections).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let address = Address::new("/images/json").extended();
        let rows: Vec<wire::image::Summary> = Ask::get(address).read(&self.connections).await?;
        rows.iter()
            .map(|row| match &row.orc_inspect {
                Some(inspect) => image::from_wire(inspect),
                None => Err(Error::internal("the daemon did not say enough")),
            })
            .collect()
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        let address = Address::of("/images/{}/json", name).extended();
        image::from_wire(&Ask::get(address).read(&self.connections).await?)
    }

    async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<Removal>> {
        let address = Address::of("/images/{}", name).flag("force", force);
        let rows: Vec<wire::image::Removal> = Ask::delete(address).read(&self.connections).await?;
        Ok(rows.into_iter().map(image::removal_from_wire).collect())
    }

    async fn import_image(&self, source: ImportSource) -> Result<Stream<Progress>> {
        let from = match &source.tar {
            ImportTar::Sent(_) => "-",
            ImportTar::Remote(url) => url,
        };
        let address = Address::new("/images/create")
            .with("fromSrc", from)
            .maybe("repo", source.reference.as_deref())
            .maybe("message", source.message.as_deref())
            .extended();
        let address = source
            .changes
            .iter()
            .fold(address, |address, change| address.with("changes", change));
        let ask = Ask::post(address);
        self.transfer(match source.tar {
            ImportTar::Sent(tar) => ask.tar(tar),
            ImportTar::Remote(_) => ask,
        })
        .await
    }

    async fn save_images(&self, names: &[String]) -> Result<Stream<Bytes>> {
        let address = names
            .iter()
            .fold(Address::new("/images/get"), |address, name| {
                address.with("names", name)
            });
        Ask::get(address).bytes(&self.connections).await
    }

    async fn load_images(&self, tar: Stream<Bytes>) -> Result<Stream<Progress>> {
        let address = Address::new("/images/load").extended();
        self.transfer(Ask::post(address).tar(tar)).await
    }

    async fn build_image(&self, request: BuildRequest) -> Result<Stream<BuildEvent>> {
        let ask = Ask::post(Address::new("/orc/build")).build(&request.spec, request.archive)?;
        let lines = ask.lines::<wire::build::Line>(&self.connections).await?;
        Ok(until_error(lines.map(|line| line.and_then(build::event))))
    }

    async fn log_in(&self, registry: &str, credentials: &Credentials) -> Result<Login> {
        let body = registry::login_to_wire(registry, credentials);
        let ask = Ask::post(Address::new("/auth")).json(&body)?;
        let reply: wire::registry::LoginReply = ask.read(&self.connections).await?;
        Ok(Login {
            status: reply.status,
            identity_token: reply.identity_token,
        })
    }

    async fn list_tags(
        &self,
        repository: &str,
        credentials: Option<Credentials>,
    ) -> Result<Vec<String>> {
        let address = Address::new("/orc/tags").with("repository", repository);
        let ask = with_credentials(Ask::get(address), credentials.as_ref())?;
        let reply: wire::registry::Tags = ask.read(&self.connections).await?;
        Ok(reply.tags)
    }

    async fn look_up_image(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<Found> {
        let ask = Ask::get(Address::of("/distribution/{}/json", reference));
        let ask = with_credentials(ask, credentials.as_ref())?;
        let reply: wire::registry::Distribution = ask.read(&self.connections).await?;
        Ok(registry::found_from_wire(reply))
    }

    async fn push_artifact(
        &self,
        reference: &str,
        artifact: &Artifact,
        credentials: Option<Credentials>,
    ) -> Result<String> {
        let address = Address::new("/orc/artifact").with("reference", reference);
        let ask = Ask::post(address).json(artifact)?;
        let ask = with_credentials(ask, credentials.as_ref())?;
        let reply: wire::registry::Stored = ask.read(&self.connections).await?;
        Ok(reply.digest)
    }

    async fn pull_artifact(
        &self,
        reference: &str,
        media_type: &str,
        credentials: Option<Credentials>,
    ) -> Result<PulledArtifact> {
        let address = Address::new("/orc/artifact")
            .with("reference", reference)
            .with("type", media_type);
        with_credentials(Ask::get(address), credentials.as_ref())?
            .read(&self.connections)
            .await
    }

    async fn serve_registry(&self, spec: &ServeSpec) -> Result<Stream<ServeEvent>> {
        let body = registry::serve_to_wire(spec);
        let ask = Ask::post(Address::new("/orc/registry")).json(&body)?;
        ask.lines(&self.connections).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let ask = Ask::post(Address::new("/networks/create")).json(&network::body(spec))?;
        let reply: wire::network::CreateReply = ask.read(&self.connections).await?;
        Ok(reply.id)
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        Ask::delete(Address::of("/networks/{}", name))
            .done(&self.connections)
            .await
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        let address = Address::of("/networks/{}", name);
        network::from_wire(&Ask::get(address).read(&self.connections).await?)
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        let rows: Vec<wire::network::Network> = Ask::get(Address::new("/networks"))
            .read(&self.connections)
            .await?;
        rows.iter().map(network::from_wire).collect()
    }

    async fn connect_network(&self, container: &str, spec: &EndpointSpec) -> Result<()> {
        let body = wire::network::ConnectBody {
            container: container.into(),
            endpoint_config: Some(endpoint::spec_to_wire(spec)),
            ..Default::default()
        };
        let address = Address::of("/networks/{}/connect", &spec.network);
        Ask::post(address)
            .json(&body)?
            .done(&self.connections)
            .await
    }

    async fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()> {
        let body = wire::network::DisconnectBody {
            container: container.into(),
            force,
        };
        let address = Address::of("/networks/{}/disconnect", network);
        Ask::post(address)
            .json(&body)?
            .done(&self.connections)
            .await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let address = Address::new("/volumes/create").extended();
        volume::from_wire(
            &Ask::post(address)
                .json(&volume::body(spec))?
                .read(&self.connections)
                .await?,
        )
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let address = Address::of("/volumes/{}", name).flag("force", force);
        Ask::delete(address).done(&self.connections).await
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let address = Address::of("/volumes/{}", name).extended();
        volume::from_wire(&Ask::get(address).read(&self.connections).await?)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let address = Address::new("/volumes").extended();
        let list: wire::volume::VolumeList = Ask::get(address).read(&self.connections).await?;
        list.volumes.iter().map(volume::from_wire).collect()
    }

    async fn disk_usage(&self, of: &UsageOf) -> Result<DiskUsage> {
        let types = disk::types(of);
        let address = types
            .iter()
            .fold(Address::new("/system/df").extended(), |address, kind| {
                address.with("type", kind)
            });
        let address = of
            .only
            .iter()
            .fold(address, |address, name| address.with("container", name));
        let answer: wire::disk::DiskUsage = Ask::get(address).read(&self.connections).await?;
        answer
            .orc_usage
            .ok_or_else(|| Error::internal("the daemon did not say enough"))
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        let (path, filters) = disk::of_prune(prune);
        let ask = Ask::post(Address::new(path).filtered(&filters));
        let connections = &self.connections;
        Ok(match prune.what {
            Prunable::Containers => {
                let reply: wire::container::Pruned = ask.read(connections).await?;
                Pruned {
                    removed: reply.containers_deleted,
                    bytes: reply.space_reclaimed,
                    ..Pruned::default()
                }
            }
            Prunable::Networks => {
                let reply: wire::network::Pruned = ask.read(connections).await?;
                Pruned {
                    removed: reply.networks_deleted,
                    ..Pruned::default()
                }
            }
            Prunable::Volumes { .. } => {
                let reply: wire::volume::Pruned = ask.read(connections).await?;
                Pruned {
                    removed: reply.volumes_deleted,
                    bytes: reply.space_reclaimed,
                    ..Pruned::default()
                }
            }
            Prunable::Images { .. } => {
                let reply: wire::image::Pruned = ask.read(connections).await?;
                let images = reply.images_deleted.into_iter();
                Pruned {
                    images: images.map(image::removal_from_wire).collect(),
                    bytes: reply.space_reclaimed,
                    ..Pruned::default()
                }
            }
        })
    }

    async fn prune_build_cache(&self, prune: &CachePrune) -> Result<Pruned> {
        let keep = prune.keep_bytes.map(|bytes| bytes.to_string());
        let address = Address::new("/build/prune")
            .flag("all", prune.all)
            .maybe("reserved-space", keep.as_deref())
            .filtered(&disk::of_cache_prune(prune));
        let reply: wire::disk::BuildsPruned = Ask::post(address).read(&self.connections).await?;
        Ok(Pruned {
            removed: reply.caches_deleted,
            bytes: reply.space_reclaimed,
            ..Pruned::default()
        })
    }

    async fn check_storage(&self, options: CheckOptions) -> Result<CheckReport> {
        let address = Address::new("/orc/system/check")
            .flag("quick", options.quick)
            .flag("repair", options.repair);
        Ask::post(address).read(&self.connections).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.socket().display())
    }
}
