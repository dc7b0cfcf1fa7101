//! Where values come from.

use super::support::{load_with, options};
use crate::explain::explain;
use crate::load::LoadOptions;

#[test]
fn every_value_has_its_place_and_its_variables() {
    let over = (
        "over.yaml",
        "services:\n  web:\n    image: ${IMAGE:-busybox}:1\n    ports: ['80:${PORT}']\n",
    );
    let base = "services:\n  web:\n    image: old\n    environment:\n      A: '1'\n      B: 5$$\n    ports: ['443:443']\n";
    let with = |no_interpolate| LoadOptions {
        files: vec!["compose.yaml".into(), "over.yaml".into()],
        environment: [("PORT".to_owned(), "8080".to_owned())].into(),
        no_interpolate,
        ..options()
    };
    let load = |no_interpolate| {
        let loaded = load_with(base, &[over], &with(no_interpolate));
        loaded.unwrap().project
    };
    let text = explain(&load(false), &load(true));
    for expected in [
        "name: \"demo\"  # a default\n",
        "services.web.image: \"busybox:1\"  # over.yaml:3:12: ${IMAGE:-busybox}:1\n",
        "services.web.environment.A: \"1\"  # compose.yaml:5:10\n",
        "services.web.environment.B: \"5$\"  # compose.yaml:6:10\n",
        "services.web.ports[0].target: 443  # compose.yaml:7:13\n",
        "services.web.ports[1].target: 8080  # over.yaml:4:13",
        "networks.default.name: \"demo_default\"  # a default\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
