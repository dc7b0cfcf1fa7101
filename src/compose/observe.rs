//! One look at a machine: all that a plan for a project depends on.

use std::collections::BTreeMap;

use futures_util::future::try_join4;
use orc_base::clock::{Clock, SystemClock};
use orc_base::{Context, Result, Time};
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter};
use orc_host::image::Image;
use orc_host::network::Network;
use orc_host::volume::Volume;

use crate::labels;
use crate::model::Project;
use crate::model::service::{Condition, Dependency};
use crate::provider::call::Program;
use crate::reference;

/// What there was when somebody looked.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The project's containers, one-offs too, in order of name.
    pub containers: Vec<Container>,
    /// All networks of the machine, by name.
    pub networks: BTreeMap<String, Network>,
    /// All volumes of the machine, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// All images of the machine.
    pub images: Vec<Image>,
    /// What is known of the programs that the files name in `provider`, and of the one for models; none
    /// when nobody looked for them.
    pub programs: BTreeMap<String, Program>,
    /// When somebody looked.
    pub at: Time,
    index: BTreeMap<String, usize>,
}

impl Observed {
    /// Puts together what was seen.
    pub fn new(
        mut containers: Vec<Container>,
        networks: Vec<Network>,
        volumes: Vec<Volume>,
        images: Vec<Image>,
    ) -> Self {
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let index = images
            .iter()
            .enumerate()
            .flat_map(|(index, image)| {
                let names = image.tags.iter().chain(&image.digests);
                names
                    .map(|name| reference::normal(name))
                    .chain([image.id.clone()])
                    .map(move |name| (name, index))
                    .collect::<Vec<_>>()
            })
            .collect();
        Self {
            containers,
            networks: by_name(networks, |network| network.spec.name.clone()),
            volumes: by_name(volumes, |volume| volume.name.clone()),
            images,
            programs: BTreeMap::new(),
            at: Time::EPOCH,
            index,
        }
    }

    /// The local image that `name` (a reference, digest or id) stands for.
    pub fn image(&self, name: &str) -> Option<&Image> {
        if let Some(index) = self.index.get(&reference::normal(name)) {
            return self.images.get(*index);
        }
        let digits = name.trim_start_matches("sha256:");
        let is_id = digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.images
            .iter()
            .filter(|_| is_id)
            .find(|image| image.id.trim_start_matches("sha256:").starts_with(digits))
    }

    /// The containers of one service, one-offs not among them, in order of their number.
    pub fn of_service(&self, service: &str) -> Vec<&Container> {
        let mut found: Vec<_> = self
            .containers
            .iter()
            .filter(|container| label(container, labels::SERVICE) == Some(service))
            .filter(|container| !is_one_off(container))
            .collect();
        found.sort_by_key(|container| number(container));
        found
    }
}

/// A project whose files are gone, put together from the labels of what is left of it: enough for
/// `down`, `stop`, `start`, `restart`, `kill`, `rm`, `ps` and `logs`.
pub fn remembered(name: &str, observed: &Observed) -> Project {
    let mut project = Project {
        name: name.to_owned(),
        ..Project::default()
    };
    for container in &observed.containers {
        let Some(service) = label(container, labels::SERVICE) else {
            continue;
        };
        if let Some(directory) = label(container, labels::WORKING_DIR) {
            project.working_dir = directory.into();
        }
        let known = project.services.entry(service.to_owned()).or_default();
        known.name = service.to_owned();
        known
            .image
            .get_or_insert_with(|| container.spec.image.clone());
        if !is_one_off(container) {
            known.depends_on = remembered_dependencies(container);
            let count = known.scale.unwrap_or(0) + 1;
            known.scale = Some(count);
        }
    }
    for network in observed.networks.values() {
        let labels = &network.spec.labels;
        if let (Some(owner), Some(key)) = (labels.get(labels::PROJECT), labels.get(labels::NETWORK))
            && owner == name
        {
            let remembered = crate::model::resources::Network {
                name: network.spec.name.clone(),
                ..Default::default()
            };
            project.networks.insert(key.clone(), remembered);
        }
    }
    for volume in observed.volumes.values() {
        let labels = &volume.labels;
        if let (Some(owner), Some(key)) = (labels.get(labels::PROJECT), labels.get(labels::VOLUME))
            && owner == name
        {
            let remembered = crate::model::resources::Volume {
                name: volume.name.clone(),
                ..Default::default()
            };
            project.volumes.insert(key.clone(), remembered);
        }
    }
    project
}

fn remembered_dependencies(container: &Container) -> BTreeMap<String, Dependency> {
    let text = label(container, labels::DEPENDS_ON).unwrap_or_default();
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let mut words = part.split(':');
            let name = words.next().unwrap_or_default().to_owned();
            let condition = words.next().and_then(Condition::parse).unwrap_or_default();
            let restart = words.next() == Some("true");
            let dependency = Dependency {
                condition,
                required: false,
                restart,
            };
            (name, dependency)
        })
        .collect()
}

/// Looks at a machine once, for one project.
pub async fn observe(host: &dyn Host, project: &str) -> Result<Observed> {
    let filter = ContainerFilter::labelled(labels::PROJECT, project);
    let (containers, networks, volumes, images) = try_join4(
        host.list_containers(&filter),
        host.list_networks(),
        host.list_volumes(),
        host.list_images(),
    )
    .await
    .context(|| format!("look at project {project}"))?;
    Ok(Observed {
        at: SystemClock.now(),
        ..Observed::new(containers, networks, volumes, images)
    })
}

/// A container's label.
pub(crate) fn label<'a>(container: &'a Container, key: &str) -> Option<&'a str> {
    container.labels.get(key).map(String::as_str)
}

/// Whether `run` made it.
pub(crate) fn is_one_off(container: &Container) -> bool {
    label(container, labels::ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Which replica it is; those without a number come last.
pub(crate) fn number(container: &Container) -> u64 {
    label(container, labels::CONTAINER_NUMBER)
        .and_then(|value| value.parse().ok())
        .unwrap_or(u64::MAX)
}

fn by_name<T>(things: Vec<T>, name: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    things
        .into_iter()
        .map(|thing| (name(&thing), thing))
        .collect()
}
