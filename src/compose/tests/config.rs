//! `config`: the canonical project as text.

use super::support::{load_with, options, project};
use crate::load::LoadOptions;
use crate::render::{Format, images, profiles, render};

const TEXT: &str = "
name: shop
services:
  web:
    build: ./web
    image: ${IMAGE:-web}
    command: run --port 80
    ports: ['8080:80']
    environment: [COST=5$$]
    depends_on: [db]
    volumes: ['data:/data', './conf:/conf:ro']
    x-own: kept
  db: {image: postgres, mem_limit: 1g}
  debug: {image: tools, profiles: [dev]}
volumes: {data: {}, unused: {}}
x-top: {a: 1}
";

#[test]
fn yaml_in_the_normal_form() {
    let text = render(&project(TEXT), Format::Yaml, &[], false).unwrap();
    assert_eq!(
        text,
        "\
name: shop
networks:
  default:
    name: shop_default
services:
  db:
    image: postgres
    mem_limit: \"1073741824\"
    networks:
      default: null
  web:
    build:
      context: /home/demo/web
      dockerfile: Dockerfile
    command:
      - run
      - --port
      - \"80\"
    depends_on:
      db:
        condition: service_started
        required: true
    environment:
      COST: 5$$
    image: web
    networks:
      default: null
    ports:
      - mode: ingress
        protocol: tcp
        published: \"8080\"
        target: 80
    volumes:
      - source: data
        target: /data
        type: volume
      - read_only: true
        source: /home/demo/conf
        target: /conf
        type: bind
    x-own: kept
volumes:
  data:
    name: shop_data
x-top:
  a: 1
"
    );
}

#[test]
fn what_is_printed_loads_as_the_same_project() {
    let first = project(TEXT);
    for format in [Format::Yaml, Format::Json] {
        let text = render(&first, format, &[], true).unwrap();
        let second = project(&text);
        assert_eq!(first.services, second.services);
        assert_eq!(first.networks, second.networks);
        assert_eq!(first.volumes, second.volumes);
        assert_eq!(render(&second, format, &[], true).unwrap(), text);
    }
}

#[test]
fn only_what_is_selected() {
    let project = project(TEXT);
    let text = render(&project, Format::Json, &["db".into()], false).unwrap();
    assert!(
        !text.contains("\"web\"") && !text.contains("\"volumes\""),
        "{text}"
    );
    assert!(render(&project, Format::Json, &["nope".into()], false).is_err());
    let all = render(&project, Format::Json, &[], true).unwrap();
    assert!(all.contains("\"unused\""));
    assert_eq!(images(&project, &[]).unwrap().len(), 2);
    assert_eq!(profiles(&project).into_iter().collect::<Vec<_>>(), ["dev"]);
}

#[test]
fn variables_stay_when_asked() {
    let raw = LoadOptions {
        no_interpolate: true,
        ..options()
    };
    let text =
        "services: {a: {image: '${IMAGE:-x}', ports: ['${P}:80'], scale: $N, mem_limit: $M}}";
    let loaded = load_with(text, &[], &raw).unwrap();
    let text = render(&loaded.project, Format::Json, &[], false).unwrap();
    for kept in ["${IMAGE:-x}", "${P}:80", "$N", "$M"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    assert!(loaded.warnings.is_empty());
}
