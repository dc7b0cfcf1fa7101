//! What is mounted: volumes, binds, memory, images, configs and secrets.

use std::collections::{BTreeMap, BTreeSet};

use orc_compose::model::Project;
use orc_compose::model::service::{Grant, Service, ServiceVolume};
use serde_json::{Map, Value, json};

use crate::cli::stack::names::label;
use crate::cli::stack::notes::Notes;

/// The volumes of a pod and the mounts of its container.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// By their names in the pod.
    pub(super) volumes: BTreeMap<String, Value>,
    /// In the order of the file.
    pub(super) mounts: Vec<Value>,
    /// Names in the pod that claims have.
    reserved: BTreeSet<String>,
}

/// The names of what pods may mount, by the keys in the file.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) volumes: BTreeMap<String, String>,
    pub(super) configs: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
}

impl Mounts {
    /// All of a service.
    pub(super) fn of(
        project: &Project,
        service: &Service,
        names: &Names,
        notes: &mut Notes,
    ) -> Self {
        let mut all = Self {
            reserved: names.volumes.values().cloned().collect(),
            ..Self::default()
        };
        for volume in &service.volumes {
            all.volume(project, service, volume, names, notes);
        }
        for text in &service.tmpfs {
            let (target, options) = text.split_once(':').unwrap_or((text, ""));
            let mut options = options.split(',');
            let size = options.find_map(|option| option.strip_prefix("size="));
            let size = size.and_then(|size| orc_base::units::parse_bytes(size).ok());
            let name = all.free("tmpfs");
            all.add(name, memory(size), json!({"mountPath": target}));
        }
        if let Some(bytes) = service.shm_size.and_then(|bytes| u64::try_from(bytes).ok()) {
            let name = all.free("shm");
            all.add(name, memory(Some(bytes)), json!({"mountPath": "/dev/shm"}));
        }
        for grant in &service.configs {
            let name = names.configs.get(&grant.source);
            let target = target(grant, "/");
            all.grant("config", grant, name, &target, service, notes);
        }
        for grant in &service.secrets {
            let name = names.secrets.get(&grant.source);
            let target = target(grant, "/run/secrets/");
            all.grant("secret", grant, name, &target, service, notes);
        }
        all
    }

    fn volume(
        &mut self,
        project: &Project,
        service: &Service,
        volume: &ServiceVolume,
        names: &Names,
        notes: &mut Notes,
    ) {
        let source = volume.source.as_deref().unwrap_or_default();
        let mut mount = json!({"mountPath": volume.target});
        if volume.read_only {
            mount["readOnly"] = true.into();
        }
        let options = volume.volume.as_ref();
        let images = volume
            .image
            .as_ref()
            .and_then(|image| image.subpath.as_ref());
        if let Some(path) = options
            .and_then(|options| options.subpath.as_ref())
            .or(images)
        {
            mount["subPath"] = path.as_str().into();
        }
        let (name, what) = match volume.kind.as_str() {
            "volume" => match names.volumes.get(source) {
                Some(claim) => {
                    let fills = options.is_none_or(|options| !options.nocopy);
                    let external = project.volumes.get(source).is_some_and(|one| one.external);
                    if fills && !external {
                        notes.say(
                            &format!("volumes.{source}"),
                            "begins empty: Kubernetes copies nothing from the image into it",
                        );
                    }
                    let what = json!({"persistentVolumeClaim": {"claimName": claim}});
                    (claim.clone(), what)
                }
                None => (self.free("anonymous"), json!({"emptyDir": {}})),
            },
            "bind" => {
                let text = format!(
                    "{source} is taken from whichever node it runs on: put it there, or into a config or a volume"
                );
                notes.service(&service.name, "volumes", &text);
                (self.free("bind"), json!({"hostPath": {"path": source}}))
            }
            "tmpfs" => {
                let size = volume.tmpfs.as_ref().and_then(|tmpfs| tmpfs.size);
                let size = size.and_then(|size| u64::try_from(size).ok());
                (self.free("tmpfs"), memory(size))
            }
            "image" => (self.free("image"), json!({"image": {"reference": source}})),
            kind => {
                let text = format!("a mount of type {kind} is left out: Kubernetes has none");
                return notes.service(&service.name, "volumes", &text);
            }
        };
        self.add(name, what, mount);
    }

    fn grant(
        &mut self,
        kind: &str,
        grant: &Grant,
        name: Option<&String>,
        target: &str,
        service: &Service,
        notes: &mut Notes,
    ) {
        let Some(name) = name else {
            return;
        };
        if grant.uid.is_some() || grant.gid.is_some() {
            let key = format!("{kind}s");
            let text = format!("{} belongs to root: Kubernetes sets no owner", grant.source);
            notes.service(&service.name, &key, &text);
        }
        let file = label_of_file(&grant.source);
        let mut items = json!({"items": [{"key": file, "path": file}]});
        let mode = grant.mode.as_deref();
        if let Some(mode) = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()) {
            items["defaultMode"] = mode.into();
        }
        let what = match kind {
            "config" => {
                items["name"] = name.as_str().into();
                json!({"configMap": items})
            }
            _ => {
                items["secretName"] = name.as_str().into();
                json!({"secret": items})
            }
        };
        let mount = json!({"mountPath": target, "subPath": file, "readOnly": true});
        let volume = self.free(&format!("{kind}-{}", label(&grant.source)));
        self.add(volume, what, mount);
    }

    /// A name for one more volume of a kind.
    fn free(&self, stem: &str) -> String {
        let stem: String = stem.chars().take(50).collect();
        let stem = stem.trim_matches('-');
        let taken = |name: &String| self.volumes.contains_key(name) || self.reserved.contains(name);
        let mut names = (1..).map(|number: u32| match number {
            1 => stem.to_owned(),
            number => format!("{stem}-{number}"),
        });
        names
            .find(|name| !taken(name))
            .expect("there are more numbers than volumes")
    }

    fn add(&mut self, name: String, what: Value, mut mount: Value) {
        mount["name"] = name.as_str().into();
        self.mounts.push(mount);
        self.volumes.insert(name, what);
    }

    /// `volumes` of the pod.
    pub(super) fn pod_volumes(&self) -> Vec<Value> {
        let named = |(name, what): (&String, &Value)| {
            let mut all = what.as_object().cloned().unwrap_or_default();
            all.insert("name".into(), name.as_str().into());
            Value::Object(all)
        };
        self.volumes.iter().map(named).collect()
    }
}

/// Where a config or secret is: an absolute path, or a name below the usual directory.
fn target(grant: &Grant, directory: &str) -> String {
    match grant.target.as_deref() {
        Some(target) if target.starts_with('/') => target.to_owned(),
        target => format!("{directory}{}", target.unwrap_or(&grant.source)),
    }
}

/// The key of a ConfigMap or Secret: letters, digits, `-`, `_` and `.`.
pub(super) fn label_of_file(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
            _ => '-',
        })
        .collect()
}

fn memory(size: Option<u64>) -> Value {
    let mut directory = Map::new();
    directory.insert("medium".into(), "Memory".into());
    if let Some(bytes) = size.filter(|bytes| *bytes > 0) {
        directory.insert("sizeLimit".into(), bytes.to_string().into());
    }
    json!({"emptyDir": directory})
}
