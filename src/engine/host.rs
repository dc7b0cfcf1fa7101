//! The engine as a [`Host`]: finds what is named and hands over. Whatever changes something is
//! finished even when its caller goes away.

use std::sync::Arc;

use async_trait::async_trait;
use orc_base::{Error, Id, Result};
use orc_host::Host;
use orc_host::archive::{CommitSpec, PathArchive, PathChange, PathStat, WriteOptions};
use orc_host::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, RemoveOptions, Top, WaitFor,
};
use orc_host::event::{Event, EventFilter, Subject};
use orc_host::exec::{Exec, ExecSpec};
use orc_host::image::{Credentials, Image, ImportSource, Progress, Removal};
use orc_host::image_build::{BuildEvent, BuildRequest};
use orc_host::network::{EndpointSpec, Network, NetworkSpec};
use orc_host::registry::{Artifact, Found, Login, PulledArtifact, ServeEvent, ServeSpec};
use orc_host::stats::Stats;
use orc_host::stop::StopOptions;
use orc_host::storage::{CachePrune, CheckOptions, CheckReport, DiskUsage, UsageOf};
use orc_host::stream::{Attached, Bytes, LogLine, LogOptions, Stream, TerminalSize};
use orc_host::system::Info;
use orc_host::unused::{Prune, Pruned};
use orc_host::update::ContainerUpdate;
use orc_host::volume::{Volume, VolumeSpec};

use crate::cell::Cell;
use crate::core::{Core, blocking, whole};
use crate::engine::Engine;
use crate::{
    archive, attach, builds, check, commit, create, images, joins, limits, logs, present,
    registries, remove, run_exec, start, stats, stop, system, top, usage,
};

impl Engine {
    /// Finds a container and carries an operation on it through.
    async fn on<W, T>(&self, name: &str, work: impl FnOnce(Arc<Core>, Arc<Cell>) -> W) -> Result<T>
    where
        W: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let cell = self.core.find(name)?;
        whole(work(self.core.clone(), cell)).await
    }
}

#[async_trait]
impl Host for Engine {
    async fn info(&self) -> Result<Info> {
        let core = self.core.clone();
        blocking(move || Ok(system::info(&core))).await
    }

    async fn events(&self, filter: EventFilter) -> Result<Stream<Event>> {
        Ok(self.core.events.listen(filter))
    }

    async fn create_container(&self, name: Option<&str>, spec: &ContainerSpec) -> Result<Created> {
        let (core, name, spec) = (self.core.clone(), name.map(str::to_owned), spec.clone());
        whole(async move { create::create(&core, name.as_deref(), spec).await }).await
    }

    async fn start_container(&self, name: &str) -> Result<()> {
        self.on(name, |core, cell| async move {
            start::start(&core, &cell).await
        })
        .await
    }

    async fn stop_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        let how = how.clone();
        self.on(name, |core, cell| async move {
            stop::stop(&core, &cell, &how).await
        })
        .await
    }

    async fn kill_container(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let signal = signal.map(str::to_owned);
        self.on(name, |core, cell| async move {
            stop::signal(&core, &cell, signal.as_deref()).await
        })
        .await
    }

    async fn restart_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        let how = how.clone();
        self.on(name, |core, cell| async move {
            stop::restart(&core, &cell, &how).await
        })
        .await
    }

    async fn pause_container(&self, name: &str) -> Result<()> {
        self.on(
            name,
            |core, cell| async move { stop::pause(&core, &cell).await },
        )
        .await
    }

    async fn unpause_container(&self, name: &str) -> Result<()> {
        self.on(name, |core, cell| async move {
            stop::unpause(&core, &cell).await
        })
        .await
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let new_name = new_name.to_owned();
        self.on(name, |core, cell| async move {
            remove::rename(&core, &cell, &new_name).await
        })
        .await
    }

    async fn update_container(&self, name: &str, update: &ContainerUpdate) -> Result<Vec<String>> {
        let update = update.clone();
        self.on(name, |core, cell| async move {
            limits::update(&core, &cell, &update).await
        })
        .await
    }

    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        self.on(name, move |core, cell| async move {
            remove::remove(&core, &cell, options).await
        })
        .await
    }

    async fn inspect_container(&self, name: &str) -> Result<Container> {
        let cell = self.core.find(name)?;
        Ok(present::container(&self.core, &cell))
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        Ok(present::list(&self.core, filter))
    }

    async fn wait_container(&self, name: &str, until: WaitFor) -> Result<Exit> {
        let cell = self.core.find(name)?;
        let ends = cell.pulse().ends;
        let seen = cell
            .until(|pulse| match until {
                _ if pulse.removed => true,
                WaitFor::NotRunning => pulse.at_rest,
                WaitFor::NextExit => pulse.ends > ends,
                WaitFor::Removed => false,
            })
            .await;
        // A container that never ran ended well, as Docker says.
        Ok(seen.exit.unwrap_or(Exit {
            code: 0,
            error: None,
            oom_killed: false,
            started_at: None,
            finished_at: self.core.now(),
        }))
    }

    async fn logs(&self, name: &str, options: &LogOptions) -> Result<Stream<LogLine>> {
        let cell = self.core.find(name)?;
        logs::lines(&self.core, &cell, options).await
    }

    async fn attach_container(&self, name: &str) -> Result<Attached> {
        let cell = self.core.find(name)?;
        attach::attach(&self.core, &cell)
    }

    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()> {
        let run = self.core.find(name)?.running()?;
        run.monitor.resize(size.rows, size.columns)
    }

    async fn top(&self, name: &str) -> Result<Top> {
        let cell = self.core.find(name)?;
        cell.running()?;
        let group = self.core.runtime.cgroup(&self.core.cgroup_of(cell.id()))?;
        let now = self.core.now();
        blocking(move || top::top(&group.processes()?, now)).await
    }

    async fn stats(&self, name: &str) -> Result<Stats> {
        let cell = self.core.find(name)?;
        cell.running()?;
        let group = self.core.runtime.cgroup(&self.core.cgroup_of(cell.id()))?;
        let own_network = cell.record().spec.network_mode != orc_host::container::NetworkMode::Host;
        let pid = cell.phase().state().pid().filter(|_| own_network);
        let now = self.core.now();
        blocking(move || stats::look(&group, pid, now)).await
    }

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        let cell = self.core.find(name)?;
        archive::stat(&self.core, &cell, path).await
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        let cell = self.core.find(name)?;
        archive::read(&self.core, &cell, path).await
    }

    async fn write_path(
        &self,
        name: &str,
        path: &str,
        tar: Stream<Bytes>,
        options: WriteOptions,
    ) -> Result<()> {
        let cell = self.core.find(name)?;
        archive::write(&self.core, &cell, path, tar, options).await
    }

    async fn remove_paths(&self, name: &str, paths: &[String]) -> Result<()> {
        let cell = self.core.find(name)?;
        archive::remove(&self.core, &cell, paths).await
    }

    async fn export_container(&self, name: &str) -> Result<Stream<Bytes>> {
        let cell = self.core.find(name)?;
        archive::export(&self.core, &cell).await
    }

    async fn container_changes(&self, name: &str) -> Result<Vec<PathChange>> {
        let cell = self.core.find(name)?;
        commit::changes(&self.core, &cell).await
    }

    async fn commit_container(&self, name: &str, spec: &CommitSpec) -> Result<String> {
        let spec = spec.clone();
        self.on(name, |core, cell| async move {
            commit::commit(&core, &cell, &spec).await
        })
        .await
    }

    async fn create_exec(&self, name: &str, spec: &ExecSpec) -> Result<String> {
        let cell = self.core.find(name)?;
        run_exec::create(&self.core, &cell, spec)
    }

    async fn start_exec(&self, exec: &str, detach: bool) -> Result<Attached> {
        let (core, exec) = (self.core.clone(), exec.to_owned());
        whole(async move { run_exec::start(&core, &exec, detach).await }).await
    }

    async fn inspect_exec(&self, exec: &str) -> Result<Exec> {
        self.core.execs.inspect(exec)
    }

    async fn resize_exec(&self, exec: &str, size: TerminalSize) -> Result<()> {
        self.core.execs.resize(exec, size)
    }

    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
        credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        images::pull(&self.core, reference, platform, credentials)
    }

    async fn push_image(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        images::push(&self.core, reference, credentials)
    }

    async fn tag_image(&self, name: &str, reference: &str) -> Result<()> {
        images::tag(&self.core, name, reference).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        images::list(&self.core).await
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        images::inspect(&self.core, name).await
    }

    async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<Removal>> {
        images::remove(&self.core, name, force).await
    }

    async fn import_image(&self, source: ImportSource) -> Result<Stream<Progress>> {
        images::import(&self.core, source)
    }

    async fn save_images(&self, names: &[String]) -> Result<Stream<Bytes>> {
        images::save(&self.core, names).await
    }

    async fn load_images(&self, tar: Stream<Bytes>) -> Result<Stream<Progress>> {
        Ok(images::load(&self.core, tar))
    }

    async fn log_in(&self, registry: &str, credentials: &Credentials) -> Result<Login> {
        registries::log_in(&self.core, registry, credentials).await
    }

    async fn list_tags(
        &self,
        repository: &str,
        credentials: Option<Credentials>,
    ) -> Result<Vec<String>> {
        registries::list_tags(&self.core, repository, credentials).await
    }

    async fn look_up_image(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<Found> {
        registries::look_up(&self.core, reference, credentials).await
    }

    async fn push_artifact(
        &self,
        reference: &str,
        artifact: &Artifact,
        credentials: Option<Credentials>,
    ) -> Result<String> {
        registries::push_artifact(&self.core, reference, artifact, credentials).await
    }

    async fn pull_artifact(
        &self,
        reference: &str,
        media_type: &str,
        credentials: Option<Credentials>,
    ) -> Result<PulledArtifact> {
        registries::pull_artifact(&self.core, reference, media_type, credentials).await
    }

    async fn serve_registry(&self, spec: &ServeSpec) -> Result<Stream<ServeEvent>> {
        registries::serve(&self.core, spec).await
    }

    async fn build_image(&self, request: BuildRequest) -> Result<Stream<BuildEvent>> {
        builds::build(&self.core, request)
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let (core, spec) = (self.core.clone(), spec.clone());
        whole(async move {
            let record = core.networks.create(&core.net, &spec, core.now()).await?;
            let id = record.network.id.to_string();
            say_network(&core, "create", &id, &spec.name);
            Ok(id)
        })
        .await
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        let (core, name) = (self.core.clone(), name.to_owned());
        whole(async move {
            let record = core.networks.remove(&core.net, &name).await?;
            say_network(
                &core,
                "destroy",
                record.network.id.as_str(),
                record.network.name.as_str(),
            );
            Ok(())
        })
        .await
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        let on = |id: &Id| joins::on_network(&self.core, id);
        self.core.networks.inspect(name, on)
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        let on = |id: &Id| joins::on_network(&self.core, id);
        Ok(self.core.networks.list(on))
    }

    async fn connect_network(&self, container: &str, endpoint: &EndpointSpec) -> Result<()> {
        let endpoint = endpoint.clone();
        self.on(container, |core, cell| async move {
            joins::connect(&core, &cell, &endpoint).await
        })
        .await
    }

    async fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()> {
        let network = network.to_owned();
        let result = self
            .on(container, |core, cell| async move {
                joins::disconnect(&core, &cell, &network).await
            })
            .await;
        match result {
            // By force: it is enough that it is not on the network.
            Err(error) if force && error.kind() == orc_base::Kind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let (core, spec) = (self.core.clone(), spec.clone());
        blocking(move || {
            let (volume, new) = core.volumes.create(&spec, false, core.now())?;
            if new {
                say_volume(&core, "create", &volume.name);
            }
            Ok(volume)
        })
        .await
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let (core, name) = (self.core.clone(), name.to_owned());
        blocking(move || {
            let removed = core.volumes.remove(&name, |name| core.volume_user(name));
            match removed {
                Ok(()) => say_volume(&core, "destroy", &name),
                Err(error) if force && error.kind() == orc_base::Kind::NotFound => {}
                Err(error) => return Err::<(), Error>(error),
            }
            Ok(())
        })
        .await
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        self.core.volumes.get(name)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        Ok(self.core.volumes.list())
    }

    async fn disk_usage(&self, of: &UsageOf) -> Result<DiskUsage> {
        usage::disk_usage(&self.core, of).await
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        orc_host::prune::prune(self, prune).await
    }

    async fn prune_build_cache(&self, prune: &CachePrune) -> Result<Pruned> {
        let (removed, bytes) = usage::prune_build_cache(&self.core, prune).await?;
        Ok(Pruned {
            removed,
            bytes,
            ..Pruned::default()
        })
    }

    async fn check_storage(&self, options: CheckOptions) -> Result<CheckReport> {
        let core = self.core.clone();
        whole(async move { check::check(&core, options).await }).await
    }
}

fn say_network(core: &Core, action: &str, id: &str, name: &str) {
    let more = [("name", name), ("type", "bridge")];
    core.say_of(Subject::Network, action, id, &more);
}

fn say_volume(core: &Core, action: &str, name: &str) {
    core.say_of(Subject::Volume, action, name, &[("driver", "local")]);
}
