//! Every call of the door, answered by the fake.

use async_trait::async_trait;
use futures_util::StreamExt;
use orc_base::{Error, Result};

use crate::Host;
use crate::archive::{CommitSpec, PathArchive, PathChange, PathStat, WriteOptions};
use crate::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, RemoveOptions, Top, WaitFor,
};
use crate::event::{Event, EventFilter};
use crate::exec::{Exec, ExecSpec};
use crate::fake::FakeHost;
use crate::fake::build;
use crate::fake::streams::done;
use crate::fake::{containers, images, networks, streams, volumes};
use crate::image::{Credentials, Image, ImportSource, Progress, Removal};
use crate::image_build::{BuildEvent, BuildRequest};
use crate::network::{EndpointSpec, Network, NetworkSpec};
use crate::stats::Stats;
use crate::stop::StopOptions;
use crate::storage::{CheckOptions, CheckReport, DiskUsage, UsageOf};
use crate::stream::{Attached, Bytes, LogLine, LogOptions, Stream, TerminalSize};
use crate::system::Info;
use crate::unused::{Prune, Pruned};
use crate::update::ContainerUpdate;
use crate::volume::{Volume, VolumeSpec};

#[async_trait]
impl Host for FakeHost {
    async fn info(&self) -> Result<Info> {
        let world = self.lock();
        let running = world
            .containers
            .values()
            .filter(|entry| entry.container.state.is_running())
            .count();
        Ok(Info {
            name: "fake".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            operating_system: "memory".into(),
            architecture: "x86_64".into(),
            kernel: "6.18.0".into(),
            cpus: 2,
            memory_bytes: 1 << 30,
            cgroup_version: 2,
            data_root: "/fake".into(),
            running,
            stopped: world.containers.len() - running,
            images: world.images.len(),
            ..Info::default()
        })
    }

    async fn events(&self, filter: EventFilter) -> Result<Stream<Event>> {
        streams::events(self, filter).await
    }

    async fn create_container(&self, name: Option<&str>, spec: &ContainerSpec) -> Result<Created> {
        containers::create(self, name, spec)
    }

    async fn start_container(&self, name: &str) -> Result<()> {
        let id = self.lock().find(name)?;
        self.run(&id)
    }

    async fn stop_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        containers::stop(self, name, how)
    }

    async fn kill_container(&self, name: &str, signal: Option<&str>) -> Result<()> {
        containers::kill(self, name, signal)
    }

    async fn restart_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        match self.stop_container(name, how).await {
            Err(error) if error.kind() != orc_base::Kind::Unchanged => return Err(error),
            _ => {}
        }
        self.start_container(name).await
    }

    async fn pause_container(&self, name: &str) -> Result<()> {
        containers::pause(self, name)
    }

    async fn unpause_container(&self, name: &str) -> Result<()> {
        containers::unpause(self, name)
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        containers::rename(self, name, new_name)
    }

    async fn update_container(&self, name: &str, update: &ContainerUpdate) -> Result<Vec<String>> {
        containers::update(self, name, update)
    }

    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        containers::remove(self, name, options)
    }

    async fn inspect_container(&self, name: &str) -> Result<Container> {
        self.container(name)
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        containers::list(self, filter)
    }

    async fn wait_container(&self, name: &str, until: WaitFor) -> Result<Exit> {
        containers::wait(self, name, until).await
    }

    async fn logs(&self, name: &str, options: &LogOptions) -> Result<Stream<LogLine>> {
        streams::logs(self, name, options)
    }

    async fn attach_container(&self, name: &str) -> Result<Attached> {
        streams::attach(self, name)
    }

    async fn resize_container(&self, name: &str, _size: TerminalSize) -> Result<()> {
        self.container(name).map(drop)
    }

    async fn top(&self, name: &str) -> Result<Top> {
        let container = self.container(name)?;
        let Some(pid) = container.state.pid() else {
            return Err(Error::conflict(format!("container {name} is not running")));
        };
        Ok(Top {
            titles: vec!["PID".into(), "CMD".into()],
            processes: vec![vec![pid.to_string(), container.args.join(" ")]],
        })
    }

    async fn stats(&self, name: &str) -> Result<Stats> {
        containers::stats(self, name)
    }

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        let mut world = self.lock();
        let id = world.find(name)?;
        world.entry(&id)?.files.stat(path, self.clock.now())
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let files = &world.entry(&id)?.files;
        let stat = files.stat(path, self.clock.now())?;
        let tar = done(vec![files.pack(path, &stat.name)?]);
        Ok(PathArchive { stat, tar })
    }

    async fn write_path(
        &self,
        name: &str,
        path: &str,
        mut tar: Stream<Bytes>,
        options: WriteOptions,
    ) -> Result<()> {
        let id = self.lock().find(name)?;
        let mut bytes = Vec::new();
        while let Some(piece) = tar.next().await {
            bytes.extend_from_slice(&piece?);
        }
        let mut world = self.lock();
        world.entry(&id)?.files.unpack(path, &bytes, options)
    }

    async fn remove_paths(&self, name: &str, paths: &[String]) -> Result<()> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let files = &mut world.entry(&id)?.files;
        paths.iter().try_for_each(|path| files.remove(path))
    }

    async fn export_container(&self, name: &str) -> Result<Stream<Bytes>> {
        let mut world = self.lock();
        let id = world.find(name)?;
        Ok(done(vec![world.entry(&id)?.files.pack("/", "")?]))
    }

    async fn container_changes(&self, name: &str) -> Result<Vec<PathChange>> {
        let mut world = self.lock();
        let id = world.find(name)?;
        Ok(world.entry(&id)?.files.changes())
    }

    async fn commit_container(&self, name: &str, spec: &CommitSpec) -> Result<String> {
        containers::commit(self, name, spec)
    }

    async fn create_exec(&self, name: &str, spec: &ExecSpec) -> Result<String> {
        streams::prepare(self, name, spec)
    }

    async fn start_exec(&self, exec: &str, _detach: bool) -> Result<Attached> {
        streams::execute(self, exec)
    }

    async fn inspect_exec(&self, exec: &str) -> Result<Exec> {
        self.lock()
            .execs
            .get(exec)
            .cloned()
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {exec}")))
    }

    async fn resize_exec(&self, exec: &str, _size: TerminalSize) -> Result<()> {
        self.inspect_exec(exec).await.map(drop)
    }

    async fn pull_image(
        &self,
        reference: &str,
        _platform: Option<&str>,
        _credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        images::pull(self, reference)
    }

    async fn push_image(
        &self,
        reference: &str,
        _credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        images::push(self, reference)
    }

    async fn tag_image(&self, name: &str, reference: &str) -> Result<()> {
        images::tag(self, name, reference)
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        Ok(self.lock().images.iter().rev().cloned().collect())
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        self.lock().find_image(name).cloned()
    }

    async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<Removal>> {
        images::remove(self, name, force)
    }

    async fn import_image(&self, source: ImportSource) -> Result<Stream<Progress>> {
        images::import(self, source).await
    }

    async fn save_images(&self, names: &[String]) -> Result<Stream<Bytes>> {
        images::save(self, names)
    }

    async fn load_images(&self, tar: Stream<Bytes>) -> Result<Stream<Progress>> {
        images::load(self, tar).await
    }

    async fn build_image(&self, request: BuildRequest) -> Result<Stream<BuildEvent>> {
        build::build(self, request).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        networks::create(self, spec)
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        networks::remove(self, name)
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        self.lock().find_network(name).cloned()
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        networks::list(self)
    }

    async fn connect_network(&self, container: &str, endpoint: &EndpointSpec) -> Result<()> {
        networks::connect(self, container, endpoint)
    }

    async fn disconnect_network(&self, network: &str, container: &str, _force: bool) -> Result<()> {
        networks::disconnect(self, network, container)
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        volumes::create(self, spec)
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        volumes::remove(self, name, force)
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        volumes::inspect(self, name)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        Ok(self.lock().volumes.values().cloned().collect())
    }

    async fn disk_usage(&self, of: &UsageOf) -> Result<DiskUsage> {
        volumes::usage(self, of).await
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        crate::prune::prune(self, prune).await
    }

    async fn check_storage(&self, _options: CheckOptions) -> Result<CheckReport> {
        let images = self.list_images().await?.len() as u64;
        Ok(CheckReport {
            images,
            ..CheckReport::default()
        })
    }
}
