//! All objects of a project, in the order in which they are made.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result};
use orc_compose::labels;
use orc_compose::model::Project;
use orc_compose::model::service::Service;
use orc_compose::render::{Format, render};
use serde_json::{Map, Value, json};

use crate::cli::stack::mounts::{self, Names};
use crate::cli::stack::names::{self, label};
use crate::cli::stack::notes::Notes;
use crate::cli::stack::sources::{self, Contents};
use crate::cli::stack::workload::{Wanted, workload};
use crate::cli::stack::{policies, ports, unmeant};

/// How much a claim of a volume asks for: a Compose file does not say.
const CLAIM: &str = "1Gi";

/// What a project is in Kubernetes.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Each after what it needs.
    pub(crate) objects: Vec<Object>,
    /// What is not as the file says, each with its key.
    pub(crate) warnings: Vec<String>,
}

/// One object.
#[derive(Debug)]
pub(crate) struct Object {
    /// What it may be called as a file: `web-deployment`.
    pub(crate) stem: String,
    /// The whole.
    pub(crate) json: Value,
}

/// The objects of the services that are on and of all that they use.
pub(crate) fn lower(project: &Project, contents: &Contents) -> Result<Bundle> {
    let namespace = label(&project.name);
    let services: BTreeMap<&String, &Service> = project
        .services
        .iter()
        .filter(|(_, service)| service.provider.is_none())
        .collect();
    let names = sources_of(project)?;
    let mut lowering = Lowering {
        project,
        namespace,
        services: names::labels("service", services.keys().copied())?,
        names,
        facts: facts(project)?,
        notes: Notes::default(),
        objects: Vec::new(),
    };
    lowering.namespace();
    lowering.sources(contents);
    lowering.claims(&services);
    lowering.networks();
    for service in services.values() {
        lowering.service(service);
    }
    for service in project
        .services
        .values()
        .filter(|one| one.provider.is_some())
    {
        let text = "left out: its program does not run in a cluster";
        lowering.notes.service(&service.name, "provider", text);
    }
    distinct(&lowering.objects)?;
    Ok(Bundle {
        objects: lowering.objects,
        warnings: lowering.notes.into_sentences(),
    })
}

/// The names of what pods mount. What is there already has the name that it has.
fn sources_of(project: &Project) -> Result<Names> {
    let mut names = Names {
        volumes: names::labels("volume", project.volumes.keys())?,
        configs: names::labels("config", project.configs.keys())?,
        secrets: names::labels("secret", project.secrets.keys())?,
    };
    for (key, volume) in project.volumes.iter().filter(|(_, one)| one.external) {
        names.volumes.insert(key.clone(), label(&volume.name));
    }
    for (all, sources) in [
        (&mut names.configs, &project.configs),
        (&mut names.secrets, &project.secrets),
    ] {
        for (key, source) in sources.iter().filter(|(_, one)| one.external) {
            let name = source.name.as_ref().unwrap_or(key);
            all.insert(key.clone(), label(name));
        }
    }
    Ok(names)
}

/// The services in their canonical form.
fn facts(project: &Project) -> Result<Value> {
    let text = render(project, Format::Json, &[], false)?;
    let whole: Value = serde_json::from_str(&text)
        .map_err(|error| Error::internal(format!("read the project again: {error}")))?;
    Ok(whole["services"].clone())
}

/// Refuses two objects of one kind and name: a service `web-published` beside what `web` publishes.
fn distinct(objects: &[Object]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut stems = BTreeSet::new();
    for object in objects {
        let (kind, name) = (&object.json["kind"], &object.json["metadata"]["name"]);
        let is_new = seen.insert((kind.to_string(), name.to_string()));
        if !is_new || !stems.insert(&object.stem) {
            return Err(Error::conflict(format!(
                "two things would be the {} {} in Kubernetes: rename one",
                kind.as_str().unwrap_or_default(),
                name.as_str().unwrap_or_default()
            )));
        }
    }
    Ok(())
}

struct Lowering<'a> {
    project: &'a Project,
    namespace: String,
    /// The services' names in Kubernetes.
    services: BTreeMap<String, String>,
    names: Names,
    facts: Value,
    notes: Notes,
    objects: Vec<Object>,
}

impl Lowering<'_> {
    fn add(&mut self, stem: String, json: Value) {
        self.objects.push(Object { stem, json });
    }

    /// `metadata` of an object of the project, with further labels.
    fn metadata(&self, name: &str, more: &[(&str, &str)]) -> Value {
        let mut all = Map::new();
        all.insert(labels::PROJECT.into(), json!(self.project.name));
        all.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), json!(value))),
        );
        json!({"name": name, "namespace": self.namespace, "labels": all})
    }

    fn namespace(&mut self) {
        let name = self.namespace.clone();
        let json = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {labels::PROJECT: self.project.name}},
        });
        self.add("0-namespace".into(), json);
    }

    fn sources(&mut self, contents: &Contents) {
        let of_project = |all: &BTreeMap<String, String>, key: &str| all.get(key).cloned();
        for (key, content) in &contents.configs {
            let Some(name) = of_project(&self.names.configs, key) else {
                continue;
            };
            let fields = sources::config(&mounts::label_of_file(key), content);
            self.source("ConfigMap", &name, "config", fields);
        }
        for (key, content) in &contents.secrets {
            let Some(name) = of_project(&self.names.secrets, key) else {
                continue;
            };
            let fields = sources::secret(&mounts::label_of_file(key), content);
            self.source("Secret", &name, "secret", fields);
        }
        let external = |kind: &str, known: &BTreeMap<String, Vec<u8>>, key: &String| {
            (!known.contains_key(key)).then(|| format!("{kind}.{key}"))
        };
        let configs = self.project.configs.keys();
        let configs = configs.filter_map(|key| external("configs", &contents.configs, key));
        let secrets = self.project.secrets.keys();
        let secrets = secrets.filter_map(|key| external("secrets", &contents.secrets, key));
        for key in configs.chain(secrets).collect::<Vec<_>>() {
            self.notes.say(
                &key,
                "has to be made in the cluster, with its key as the name of the file",
            );
        }
    }

    fn source(&mut self, kind: &str, name: &str, stem: &str, fields: Map<String, Value>) {
        let mut json = json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": self.metadata(name, &[]),
        });
        for (key, value) in fields {
            json[key] = value;
        }
        self.add(format!("{name}-{stem}"), json);
    }

    /// Claims of the volumes that are used and not there already.
    fn claims(&mut self, services: &BTreeMap<&String, &Service>) {
        let users = |key: &str| -> u64 {
            let mounts = |service: &&&Service| {
                let mut volumes = service.volumes.iter();
                volumes.any(|one| one.kind == "volume" && one.source.as_deref() == Some(key))
            };
            let users = services.values().filter(mounts);
            users
                .map(|service| match service.mode() {
                    // One on each node.
                    "global" => 2,
                    _ => service.replicas(),
                })
                .sum()
        };
        for (key, volume) in &self.project.volumes {
            let (Some(name), users) = (self.names.volumes.get(key).cloned(), users(key)) else {
                continue;
            };
            if users == 0 {
                continue;
            }
            if volume.external {
                let text = format!("the claim {name} has to be there");
                self.notes.say(&format!("volumes.{key}"), &text);
                continue;
            }
            let mode = match users {
                1 => "ReadWriteOnce",
                _ => "ReadWriteMany",
            };
            let text = format!("asks for {CLAIM}: the file does not say how much it needs");
            self.notes.say(&format!("volumes.{key}"), &text);
            if !volume.driver_opts.is_empty() {
                let key = format!("volumes.{key}.driver_opts");
                self.notes
                    .say(&key, "left out: the cluster's storage class decides");
            }
            let json = json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": self.metadata(&name, &[(labels::VOLUME, key)]),
                "spec": {"accessModes": [mode], "resources": {"requests": {"storage": CLAIM}}},
            });
            self.add(format!("{name}-claim"), json);
        }
    }

    fn networks(&mut self) {
        let used: BTreeSet<String> = self
            .project
            .services
            .values()
            .flat_map(|service| service.networks.keys().cloned())
            .collect();
        for key in &used {
            let network = self.project.networks.get(key);
            if network
                .is_some_and(|network| network.ipam.is_some() || !network.driver_opts.is_empty())
            {
                let text = "its addresses and options are left out: the cluster decides";
                self.notes.say(&format!("networks.{key}"), text);
            }
            if policies::are_needed(self.project) {
                let name = format!("{}-network", label(key));
                self.policy(&name, &policies::network(key));
            }
        }
    }

    fn policy(&mut self, name: &str, spec: &Value) {
        let json = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": self.metadata(name, &[]),
            "spec": spec,
        });
        self.add(format!("{name}-policy"), json);
    }

    fn service(&mut self, service: &Service) {
        let name = self.services[&service.name].clone();
        if name != service.name {
            let text = format!("is called {name}: Kubernetes takes no other name");
            self.notes.say(&format!("services.{}", service.name), &text);
        }
        let selector = json!({
            labels::PROJECT: self.project.name,
            labels::SERVICE: service.name,
        });
        let facts = self.facts[&service.name].clone();
        unmeant::tell(&service.name, &facts, &mut self.notes);
        let wanted = Wanted {
            project: self.project,
            service,
            name: &name,
            selector: &selector,
            names: &self.names,
            facts: &facts,
        };
        let made = workload(&wanted, &mut self.notes);
        let own = [(labels::SERVICE, service.name.as_str())];
        let json = json!({
            "apiVersion": made.api,
            "kind": made.kind,
            "metadata": self.metadata(&name, &own),
            "spec": made.spec,
        });
        self.add(format!("{name}-{}", made.kind.to_lowercase()), json);
        self.reach(service, &name, &selector, &facts);
        if policies::are_needed(self.project) {
            if let Some(spec) = policies::published(service, &selector, &mut self.notes) {
                self.policy(&format!("{name}-published"), &spec);
            }
            if let Some(spec) = policies::internal(self.project, service, &selector) {
                self.policy(&format!("{name}-internal"), &spec);
            }
        }
    }

    /// The names under which a service is found, and what it publishes.
    fn reach(&mut self, service: &Service, name: &str, selector: &Value, facts: &Value) {
        let dnsrr = facts["deploy"]["endpoint_mode"] == "dnsrr";
        let inside = ports::inside(service, selector, dnsrr);
        for found_by in self.found_by(service, name) {
            let own = [(labels::SERVICE, service.name.as_str())];
            let json = json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": self.metadata(&found_by, &own),
                "spec": inside,
            });
            self.add(format!("{found_by}-service"), json);
        }
        if let Some(spec) = ports::outside(service, selector, &mut self.notes) {
            let published = format!("{name}-published");
            let own = [(labels::SERVICE, service.name.as_str())];
            let json = json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": self.metadata(&published, &own),
                "spec": spec,
            });
            self.add(format!("{published}-service"), json);
        }
    }

    /// The service's own name, and aliases that nobody else has.
    fn found_by(&mut self, service: &Service, name: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::from([name.to_owned()]);
        let places = service.networks.values().flatten();
        for alias in places.flat_map(|place| &place.aliases) {
            let found_by = label(alias);
            let is_service = self.services.values().any(|other| *other == found_by);
            let taken = self.objects.iter().any(|object| {
                object.json["kind"] == "Service" && object.json["metadata"]["name"] == *found_by
            });
            if found_by != *alias || (found_by != name && (is_service || taken)) {
                let text = format!("the alias {alias} is left out: Kubernetes cannot have it");
                self.notes.service(&service.name, "networks", &text);
                continue;
            }
            all.insert(found_by);
        }
        all
    }
}
