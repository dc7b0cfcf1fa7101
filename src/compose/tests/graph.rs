//! `graph`: the same project in every language.

use super::support::project;
use crate::graph::{Picture, draw};

const SHOP: &str = "
name: shop
services:
  web:
    image: nginx:1.27
    scale: 2
    ports: ['127.0.0.1:8080:80', '443']
    networks: [front, back]
    depends_on:
      api: {condition: service_healthy}
      cache: {condition: service_started, required: false}
  api:
    build: /
    networks: [back]
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  migrate: {image: 'app:1', networks: [back], depends_on: {db: {condition: service_healthy}}}
  db:
    image: postgres:16
    networks: [back]
    volumes: ['data:/var/lib/postgresql/data']
  cache: {image: 'redis:7', networks: [back]}
  tools: {image: tools, profiles: [dev], volumes: ['scratch:/x']}
networks: {front: {}, back: {external: true}, unused: {}}
volumes: {data: {}, scratch: {}}
";

#[test]
fn tree() {
    assert_eq!(
        draw(&project(SHOP), Picture::Text),
        "\
shop
└── web  nginx:1.27 ×2  127.0.0.1:8080->80/tcp, *->443/tcp
    ├── api (healthy)  shop-api (built)
    │   ├── db (healthy)  postgres:16
    │   └── migrate (completed)  app:1
    │       └── db (healthy)
    └── cache (started, optional)  redis:7
networks
├── back (external): api, cache, db, migrate, web
└── front: web
volumes
└── data: db at /var/lib/postgresql/data
"
    );
}

#[test]
fn dot() {
    assert_eq!(
        draw(&project(SHOP), Picture::Dot),
        r#"digraph "shop" {
  node [fontname="sans-serif"];
  edge [fontname="sans-serif", fontsize=10];
  n0 [label="api\nshop-api (built)", shape=box];
  n1 [label="cache\nredis:7", shape=box];
  n2 [label="db\npostgres:16", shape=box];
  n3 [label="migrate\napp:1", shape=box];
  n4 [label="web\nnginx:1.27 ×2\n127.0.0.1:8080->80/tcp, *->443/tcp", shape=box];
  n5 [label="back\nexternal", shape=ellipse];
  n6 [label="front", shape=ellipse];
  n7 [label="data", shape=cylinder];
  n0 -> n2 [label="healthy"];
  n0 -> n3 [label="completed"];
  n0 -> n5 [label="", style=dotted, dir=none];
  n1 -> n5 [label="", style=dotted, dir=none];
  n2 -> n5 [label="", style=dotted, dir=none];
  n2 -> n7 [label="/var/lib/postgresql/data", style=dotted];
  n3 -> n2 [label="healthy"];
  n3 -> n5 [label="", style=dotted, dir=none];
  n4 -> n0 [label="healthy"];
  n4 -> n1 [label="started, optional", style=dashed];
  n4 -> n5 [label="", style=dotted, dir=none];
  n4 -> n6 [label="", style=dotted, dir=none];
}
"#
    );
}

#[test]
fn mermaid() {
    let text = "services:\n  a: {image: 'x:1', ports: ['80:80'], volumes: ['v:/v'], depends_on: {b: {condition: service_healthy}, c: {condition: service_started, required: false}}}\n  b: {image: 'y:1'}\n  c: {image: 'z:1'}\nvolumes: {v: {}}\nname: p\n";
    assert_eq!(
        draw(&project(text), Picture::Mermaid),
        r#"flowchart TD
  n0["a<br>x:1<br>80-#gt;80/tcp"]
  n1["b<br>y:1"]
  n2["c<br>z:1"]
  n3(["default"])
  n4[("v")]
  n0 -->|"healthy"| n1
  n0 -.->|"started, optional"| n2
  n0 -.- n3
  n0 -.->|"/v"| n4
  n1 -.- n3
  n2 -.- n3
"#
    );
}

/// The areas of boxes in a drawing: x, y, width, height.
fn areas(svg: &str) -> Vec<[f64; 4]> {
    let number = |line: &str, key: &str| -> f64 {
        let rest = line.split(&format!(" {key}=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    svg.lines()
        .filter(|line| line.starts_with("<rect"))
        .map(|line| ["x", "y", "width", "height"].map(|key| number(line, key)))
        .collect()
}

#[test]
fn svg_has_all_boxes_apart_and_below_what_needs_them() {
    let svg = draw(&project(SHOP), Picture::Svg);
    let areas = areas(&svg);
    assert_eq!(areas.len(), 8);
    for (index, a) in areas.iter().enumerate() {
        for b in &areas[index + 1..] {
            let apart = a[0] + a[2] <= b[0]
                || b[0] + b[2] <= a[0]
                || a[1] + a[3] <= b[1]
                || b[1] + b[3] <= a[1];
            assert!(apart, "{a:?} {b:?}");
        }
    }
    // api, cache, db, migrate, web, back, front, data, as in the outline.
    let y = |index: usize| areas[index][1];
    assert!(
        y(4) < y(0) && y(0) < y(3) && y(3) < y(2) && y(2) < y(5),
        "{areas:?}"
    );
    assert_eq!(svg.matches("<path class=\"needs").count(), 5);
    assert_eq!(svg.matches("class=\"needs optional\"").count(), 1);
    assert_eq!(svg.matches("class=\"joins\"").count(), 6);
    assert_eq!(svg.matches("class=\"mounts\"").count(), 1);
    assert!(svg.contains(">healthy</text>") && svg.contains("<title>shop</title>"));
    assert_eq!(svg, draw(&project(SHOP), Picture::Svg), "the same again");
}

#[test]
fn text_of_others_stays_text() {
    let text = "services:\n  a: {image: 'x\"<b>&\\'}\nname: p\n";
    let project = project(text);
    assert!(draw(&project, Picture::Svg).contains(">x&quot;&lt;b&gt;&amp;\\</text>"));
    assert!(draw(&project, Picture::Dot).contains(r#"label="a\nx\"<b>&\\""#));
    assert!(draw(&project, Picture::Mermaid).contains("x#quot;#lt;b#gt;#amp;\\"));
}

#[test]
fn many_services_and_none() {
    let mut text = String::from("name: p\nservices:\n");
    for index in 0..300 {
        text += &format!("  s{index:03}: {{image: 'x:1'");
        if index > 0 {
            text += &format!(", depends_on: [s{:03}, s{:03}]", index - 1, index / 2);
        }
        text += "}\n";
    }
    let project_of_many = project(&text);
    assert_eq!(areas(&draw(&project_of_many, Picture::Svg)).len(), 301);
    assert_eq!(
        draw(&project_of_many, Picture::Text).matches("x:1").count(),
        300
    );
    let none = project("name: p\nservices: {}\n");
    assert_eq!(draw(&none, Picture::Text), "p\n");
    assert!(draw(&none, Picture::Svg).starts_with("<svg "));
}
