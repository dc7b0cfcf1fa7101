//! What the containers of a project are called on the screen: `web-1`, or the name they were given.

use orc_compose::labels;
use orc_host::container::Container;

/// The service a container belongs to; empty when it belongs to none.
pub(crate) fn service(container: &Container) -> &str {
    container
        .labels
        .get(labels::SERVICE)
        .map(String::as_str)
        .unwrap_or_default()
}

/// Whether `run` made it.
pub(crate) fn is_one_off(container: &Container) -> bool {
    container
        .labels
        .get(labels::ONE_OFF)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The name without the project's.
pub(crate) fn display(container: &Container, project: &str) -> String {
    let short = container
        .name
        .strip_prefix(project)
        .and_then(|rest| rest.strip_prefix(['-', '_']));
    short.unwrap_or(&container.name).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orc_base::Time;
    use orc_host::container::{ContainerSpec, State};

    use super::*;

    fn container(name: &str) -> Container {
        Container {
            id: "0".repeat(64),
            name: name.into(),
            spec: ContainerSpec::default(),
            created: Time::EPOCH,
            image_id: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
            labels: BTreeMap::new(),
            healthcheck: None,
            stop_signal: String::new(),
            hostname: String::new(),
            state: State::Removing,
            health: None,
            restart_count: 0,
            mounts: Vec::new(),
            endpoints: Vec::new(),
            published: Vec::new(),
            log_path: String::new(),
            cgroup: String::new(),
        }
    }

    #[test]
    fn names_without_the_project() {
        assert_eq!(display(&container("demo-web-1"), "demo"), "web-1");
        assert_eq!(display(&container("demo_web_1"), "demo"), "web_1");
        assert_eq!(display(&container("database"), "demo"), "database");
        assert_eq!(
            display(&container("demonstration"), "demo"),
            "demonstration"
        );
    }
}
