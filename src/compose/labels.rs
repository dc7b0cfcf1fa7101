//! The labels by which a project's things are found again: docker compose's, letter by letter, so
//! that either program can manage what the other one made.

/// The project's name: on containers, networks and volumes.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service's name.
pub const SERVICE: &str = "com.docker.compose.service";
/// Which replica of the service, from 1.
pub const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// `True` for a container of `run`, else `False`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Digest of what the thing was made from.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Digest of what else a container was made from; orc's own, since docker compose has no such label.
pub const INPUTS: &str = "orc.compose.inputs";
/// The project directory.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The files it was loaded from, joined by commas.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// `service:condition:restart`, joined by commas.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The version of the program that made it.
pub const VERSION: &str = "com.docker.compose.version";
/// The id of the image the container was made of.
pub const IMAGE: &str = "com.docker.compose.image";
/// The random part of a one-off container's name.
pub const SLUG: &str = "com.docker.compose.slug";
/// `pre_start`, for a container that runs before a service starts.
pub const HOOK: &str = "com.docker.compose.hook";
/// A network's key in the file.
pub const NETWORK: &str = "com.docker.compose.network";
/// A volume's key in the file.
pub const VOLUME: &str = "com.docker.compose.volume";
