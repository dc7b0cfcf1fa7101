//! Volumes: directories that outlive containers.
//!
//! A volume is its directory `volumes/<name>` with a synced record; its data are in `_data` beside
//! it, or where its options say (`backing.rs`). A file system of its own is mounted on `_data` as long
//! as a container runs that mounts the volume; who holds it is known in memory, and found anew by the
//! next daemon. The first container that mounts an
//! empty one fills it with what the image has there: the copy is made aside and moved in when it is
//! whole, so that a crash leaves an empty volume or a filled one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use orc_base::fs;
use orc_base::root::Root;
use orc_base::{Context, Error, Id, Kind, Name, Result, Time};
use orc_host::volume::{Volume, VolumeSpec};
use rustix::fs::{FileType, Mode, OFlags};

use crate::backing::{self, Backing, backing};
use crate::copy;
use crate::names::shown;
use crate::records::{FORMAT, VolumeRecord};
use crate::store::Store;

/// A copy that is not whole yet.
const FILLING: &str = "filling";
/// A whole copy that is not moved in yet.
const FILLED: &str = "filled";

/// The volumes of one engine.
pub(crate) struct Volumes {
    store: Store,
    records: Mutex<BTreeMap<String, VolumeRecord>>,
    /// Held while a volume is filled: two containers with one empty volume fill it once.
    filling: Mutex<()>,
    /// The containers that use volumes with a file system of their own, by volume.
    held: Mutex<BTreeMap<String, BTreeSet<Id>>>,
}

impl Volumes {
    /// Loads all volumes and finishes or removes what a crash left half done.
    pub(crate) fn open(store: &Store) -> Result<Self> {
        let (records, rest) = store.volumes()?;
        for path in rest {
            let data = path.join("_data");
            if backing::is_mounted(&data)? {
                backing::put_away(&data)?;
            }
            fs::remove_dir_all(&path)?;
        }
        for record in &records {
            let directory = store.volume_dir(&record.volume.name);
            fs::remove_dir_all(&directory.join(FILLING))?;
            move_in(&directory)?;
        }
        let records = records
            .into_iter()
            .map(|record| (record.volume.name.clone(), record));
        Ok(Self {
            store: store.clone(),
            records: Mutex::new(records.collect()),
            filling: Mutex::new(()),
            held: Mutex::default(),
        })
    }

    /// Makes a volume, or returns the one that has the name. `anonymous` says that nobody chose the
    /// name. The second answer is whether it is new.
    pub(crate) fn create(
        &self,
        spec: &VolumeSpec,
        anonymous: bool,
        now: Time,
    ) -> Result<(Volume, bool)> {
        if !matches!(spec.driver.as_str(), "" | "local") {
            return Err(Error::unsupported(format!(
                "volume driver `{}` is not there: use local",
                shown(&spec.driver)
            )));
        }
        let anonymous = anonymous || spec.name.is_empty();
        let name = match spec.name.as_str() {
            "" => Id::random().to_string(),
            name => name.parse::<Name>()?.to_string(),
        };
        let data = match backing(&spec.options)? {
            Backing::Own => self.store.volume_data(&name),
            Backing::Directory { path, .. } => path,
            Backing::Mounted(system) => {
                system.check()?;
                self.store.volume_data(&name)
            }
        };
        let mut records = self.lock();
        if let Some(record) = records.get(&name) {
            if !spec.options.is_empty() && record.volume.options != spec.options {
                return Err(Error::conflict(format!(
                    "volume {name} exists with other options: remove it first, or use another name"
                )));
            }
            return Ok((record.volume.clone(), false));
        }
        let record = VolumeRecord {
            format: FORMAT,
            volume: Volume {
                mountpoint: data.display().to_string(),
                name: name.clone(),
                driver: "local".into(),
                options: spec.options.clone(),
                labels: spec.labels.clone(),
                created: now,
                anonymous,
            },
        };
        let directory = self.store.volume_dir(&name);
        let made = self.make(&directory, &record);
        if made.is_err() {
            let _ = fs::remove_dir_all(&directory);
        }
        made.context(|| format!("create volume {name}"))?;
        records.insert(name, record.clone());
        Ok((record.volume, true))
    }

    /// The volume that has the name, as it is; made when there is none. What the second answer says is
    /// as for [`Volumes::create`].
    pub(crate) fn provide(
        &self,
        spec: &VolumeSpec,
        anonymous: bool,
        now: Time,
    ) -> Result<(Volume, bool)> {
        match self.get(&spec.name) {
            Ok(volume) => Ok((volume, false)),
            Err(_) => self.create(spec, anonymous, now),
        }
    }

    fn make(&self, directory: &Path, record: &VolumeRecord) -> Result<()> {
        fs::create_dir_all(directory, 0o700)?;
        // As Docker: whoever the container runs as may write only what the image or root allows.
        fs::create_dir_all(&directory.join("_data"), 0o755)?;
        self.store.save_volume(record)
    }

    /// One volume.
    pub(crate) fn get(&self, name: &str) -> Result<Volume> {
        self.lock()
            .get(name)
            .map(|record| record.volume.clone())
            .ok_or_else(|| missing(name))
    }

    /// All volumes, in order of name.
    pub(crate) fn list(&self) -> Vec<Volume> {
        self.lock()
            .values()
            .map(|record| record.volume.clone())
            .collect()
    }

    /// Writes the record of a volume anew whose file is `path`. Says whether there is one.
    pub(crate) fn rewrite(&self, path: &Path) -> Result<bool> {
        let records = self.lock();
        let mut all = records.values();
        match all.find(|record| self.store.volume_file(&record.volume.name) == path) {
            Some(record) => self.store.save_volume(record).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes a volume with its data. `Conflict` when `user` names a container that mounts it.
    pub(crate) fn remove(
        &self,
        name: &str,
        user: impl FnOnce(&str) -> Option<String>,
    ) -> Result<()> {
        let mut records = self.lock();
        if !records.contains_key(name) {
            return Err(missing(name));
        }
        if let Some(user) = user(name) {
            return Err(Error::conflict(format!(
                "remove {name}: volume is in use by container {user}"
            )));
        }
        records.remove(name);
        drop(records);
        self.discard(name)
            .context(|| format!("remove volume {name}"))
    }

    /// Mounts the file system of a volume that has one of its own, for a container that is going to
    /// use it.
    pub(crate) fn bring_up(&self, name: &str, user: &Id) -> Result<()> {
        let volume = self.get(name)?;
        let Backing::Mounted(system) = backing(&volume.options)? else {
            return Ok(());
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let data = self.store.volume_data(name);
        if !backing::is_mounted(&data)? {
            system
                .mount(&data)
                .context(|| format!("mount volume {name}"))?;
        }
        held.entry(name.to_owned())
            .or_default()
            .insert(user.clone());
        Ok(())
    }

    /// Remembers that a container runs which an earlier daemon started.
    pub(crate) fn hold<'n>(&self, names: impl Iterator<Item = &'n str>, user: &Id) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            held.entry(name.to_owned())
                .or_default()
                .insert(user.clone());
        }
    }

    /// A container uses nothing any more: what nobody else uses is put away.
    pub(crate) fn let_go(&self, user: &Id) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut errors = Vec::new();
        held.retain(|name, users| {
            if !users.remove(user) || !users.is_empty() {
                return !users.is_empty();
            }
            errors.extend(self.put_away(name).err());
            false
        });
        Error::all(errors)
    }

    /// Puts away what an earlier daemon left mounted and nobody uses.
    pub(crate) fn put_away_unused(&self) -> Result<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = self
            .list()
            .into_iter()
            .filter(|volume| !volume.options.is_empty() && !held.contains_key(&volume.name));
        Error::all(unused.filter_map(|volume| self.put_away(&volume.name).err()))
    }

    fn put_away(&self, name: &str) -> Result<()> {
        let data = self.store.volume_data(name);
        match backing::is_mounted(&data)? {
            true => backing::put_away(&data).context(|| format!("volume {name}")),
            false => Ok(()),
        }
    }

    /// Nothing of a file system of its own is removed with a volume. The record goes first of what is
    /// its own: without one, the rest is removed when the daemon starts.
    fn discard(&self, name: &str) -> Result<()> {
        self.put_away(name)?;
        let directory = self.store.volume_dir(name);
        fs::remove_file(&directory.join("volume.json"))?;
        match Root::open(&self.store.dirs().volumes()) {
            Ok(root) => root.remove_all(name),
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a volume is never written, whatever a container asks for.
    pub(crate) fn is_read_only(&self, name: &str) -> Result<bool> {
        let backing = backing(&self.get(name)?.options)?;
        Ok(matches!(
            backing,
            Backing::Directory {
                read_only: true,
                ..
            }
        ))
    }

    /// Where the data of a volume are.
    pub(crate) fn source(&self, name: &str) -> Result<PathBuf> {
        let volume = self.get(name)?;
        let data = PathBuf::from(&volume.mountpoint);
        match data.is_dir() {
            true => Ok(data),
            false => Err(Error::not_found(format!(
                "volume {name}: {} is not a directory",
                data.display()
            ))),
        }
    }

    /// Fills an empty volume with the directory `target` of an image, when the image has one.
    pub(crate) fn fill(&self, name: &str, image: &Root, target: &str) -> Result<()> {
        let volume = self.get(name)?;
        let directory = self.store.volume_dir(name);
        let data = directory.join("_data");
        if !volume.options.is_empty() {
            // The data are the machine's own.
            return Ok(());
        }
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if !fs::list(&data)?.is_empty() {
            return Ok(());
        }
        let Some(source) = directory_of(image, target)? else {
            return Ok(());
        };
        let aside = directory.join(FILLING);
        fs::remove_dir_all(&aside)?;
        fs::create_dir_all(&aside, 0o700)?;
        let copied =
            open_dir(&aside).and_then(|aside| copy::contents(source.as_fd(), aside.as_fd()));
        if let Err(error) = copied {
            let _ = fs::remove_dir_all(&aside);
            return Err(error.within(format!("fill volume {name} from {target} of the image")));
        }
        std::fs::rename(&aside, directory.join(FILLED))?;
        move_in(&directory).context(|| format!("fill volume {name}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, VolumeRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves a whole copy into the data, entry by entry: another container may have them mounted.
fn move_in(directory: &Path) -> Result<()> {
    let (filled, data) = (directory.join(FILLED), directory.join("_data"));
    if !filled.is_dir() {
        return Ok(());
    }
    for path in fs::list(&filled)? {
        if let Some(name) = path.file_name() {
            std::fs::rename(&path, data.join(name))?;
        }
    }
    // Nothing is left to copy but the directory's own owner, mode and attributes.
    copy::contents(open_dir(&filled)?.as_fd(), open_dir(&data)?.as_fd())?;
    fs::remove_dir_all(&filled)
}

/// The directory `target` of an image; `None` when there is nothing or something else, which the
/// volume hides.
fn directory_of(image: &Root, target: &str) -> Result<Option<OwnedFd>> {
    let place = match image.open_at(target, OFlags::PATH, Mode::empty()) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        other => other.context(|| "look into the image")?,
    };
    let mode = rustix::fs::fstat(&place)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::Directory {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(&place, ".", flags, Mode::empty())?))
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("get {}: no such volume", shown(name)))
}

#[cfg(test)]
mod tests {
    use orc_base::dirs::Dirs;

    use super::*;

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        let volumes = reopen(dir.path());
        (dir, volumes)
    }

    fn reopen(dir: &Path) -> Volumes {
        let dirs = Dirs::new(dir.join("data"), dir.join("run"));
        Volumes::open(&Store::open(&dirs).unwrap()).unwrap()
    }

    fn named(name: &str) -> VolumeSpec {
        VolumeSpec {
            name: name.into(),
            ..VolumeSpec::default()
        }
    }

    #[test]
    fn a_volume_outlives_the_daemon_and_goes_whole() {
        let (dir, volumes) = volumes();
        let (made, new) = volumes.create(&named("data"), false, Time::EPOCH).unwrap();
        assert!(new && !made.anonymous);
        assert!(
            !volumes
                .create(&named("data"), false, Time::EPOCH)
                .unwrap()
                .1
        );
        let (anonymous, _) = volumes
            .create(&VolumeSpec::default(), false, Time::EPOCH)
            .unwrap();
        assert!(anonymous.anonymous);
        // What a crash leaves of a removal or a creation.
        std::fs::create_dir(dir.path().join("data/volumes/half")).unwrap();

        let volumes = reopen(dir.path());
        assert_eq!(volumes.get("data").unwrap(), made);
        assert_eq!(volumes.list().len(), 2);
        assert!(!dir.path().join("data/volumes/half").exists());
        let used = volumes.remove("data", |_| Some("web".into())).unwrap_err();
        assert_eq!(used.kind(), Kind::Conflict);
        assert!(used.to_string().contains("web"));
        volumes.remove("data", |_| None).unwrap();
        assert_eq!(volumes.get("data").unwrap_err().kind(), Kind::NotFound);
        assert!(!dir.path().join("data/volumes/data").exists());
    }

    #[test]
    fn an_empty_volume_is_filled_once() {
        let (dir, volumes) = volumes();
        let image = dir.path().join("image");
        std::fs::create_dir_all(image.join("srv/sub")).unwrap();
        std::fs::write(image.join("srv/file"), b"first").unwrap();
        std::os::unix::fs::symlink("/srv", image.join("link")).unwrap();
        std::os::unix::fs::symlink("../../..", image.join("out")).unwrap();
        std::os::unix::fs::chown(image.join("srv"), Some(33), Some(33)).unwrap();
        let image = Root::open(&image).unwrap();
        let (volume, _) = volumes.create(&named("v"), false, Time::EPOCH).unwrap();
        let file = Path::new(&volume.mountpoint).join("file");

        volumes.fill("v", &image, "/nothing/here").unwrap();
        volumes.fill("v", &image, "/srv/file").unwrap();
        assert!(!file.exists());
        volumes.fill("v", &image, "/link").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"first");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&volume.mountpoint).unwrap().uid(), 33);
        std::fs::write(&file, b"mine").unwrap();
        volumes.fill("v", &image, "/srv").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");

        // Nothing outside the image is ever a source.
        let (volume, _) = volumes.create(&named("w"), false, Time::EPOCH).unwrap();
        volumes.fill("w", &image, "/out").unwrap();
        let names: Vec<_> = fs::list(Path::new(&volume.mountpoint))
            .unwrap()
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        assert_eq!(names, ["link", "out", "srv"], "the root of the image");
    }

    #[test]
    fn a_copy_that_was_cut_off_is_finished_or_forgotten() {
        let (dir, volumes) = volumes();
        volumes.create(&named("v"), false, Time::EPOCH).unwrap();
        let directory = dir.path().join("data/volumes/v");
        std::fs::create_dir(directory.join(FILLING)).unwrap();
        std::fs::create_dir(directory.join(FILLED)).unwrap();
        std::fs::write(directory.join(FILLED).join("rest"), b"").unwrap();
        reopen(dir.path());
        assert!(directory.join("_data/rest").exists());
        assert!(!directory.join(FILLING).exists() && !directory.join(FILLED).exists());
    }

    fn with(options: &[(&str, &str)]) -> VolumeSpec {
        VolumeSpec {
            name: "v".into(),
            options: options
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            ..VolumeSpec::default()
        }
    }

    #[test]
    fn a_directory_of_the_machine_stays() {
        let (dir, volumes) = volumes();
        let device = dir.path().display().to_string();
        let bind = with(&[("type", "none"), ("o", "bind,ro"), ("device", &device)]);
        let (volume, _) = volumes.create(&bind, false, Time::EPOCH).unwrap();
        assert_eq!(volume.mountpoint, device);
        assert_eq!(volumes.source("v").unwrap(), dir.path());
        assert!(volumes.is_read_only("v").unwrap());
        volumes.remove("v", |_| None).unwrap();
        assert!(dir.path().exists(), "the machine's own directory stays");
    }

    #[test]
    fn a_file_system_is_mounted_while_somebody_uses_it() {
        let (dir, volumes) = volumes();
        let tmpfs = [
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", "size=1m,mode=0710,uid=7"),
        ];
        let (volume, _) = volumes.create(&with(&tmpfs), false, Time::EPOCH).unwrap();
        let data = Path::new(&volume.mountpoint);
        let mounted = || backing::is_mounted(data).unwrap();
        let (one, two) = (Id::random(), Id::random());
        assert!(!mounted());
        volumes.bring_up("v", &one).unwrap();
        volumes.bring_up("v", &two).unwrap();
        assert!(mounted());
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(data).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (7, 0o710));
        std::fs::write(data.join("file"), b"x").unwrap();
        volumes.let_go(&one).unwrap();
        assert!(mounted(), "the other one uses it");

        // The next daemon finds one that is used and one that is not.
        let volumes = reopen(dir.path());
        volumes.hold(["v"].into_iter(), &two);
        volumes.put_away_unused().unwrap();
        assert!(mounted());
        volumes.let_go(&two).unwrap();
        assert!(!mounted() && fs::list(data).unwrap().is_empty());
        volumes.bring_up("v", &one).unwrap();
        let volumes = reopen(dir.path());
        volumes.put_away_unused().unwrap();
        assert!(!mounted());

        let wrong = with(&[("type", "tmpfs"), ("o", "size=much")]);
        volumes.remove("v", |_| None).unwrap();
        volumes.create(&wrong, false, Time::EPOCH).unwrap();
        let error = volumes.bring_up("v", &one).unwrap_err().to_string();
        assert!(
            error.contains("volume v") && error.contains("size"),
            "{error}"
        );
        let missing = VolumeSpec {
            name: "w".into(),
            ..with(&[
                ("type", "nosuchfs"),
                ("device", ":/x"),
                ("o", "addr=192.0.2.1"),
            ])
        };
        let error = volumes.create(&missing, false, Time::EPOCH).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    }
}
