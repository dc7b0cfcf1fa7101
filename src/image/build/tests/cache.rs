//! Results that travel between machines.

use super::support::{bed, open};
use crate::build::request::BuildEvent;
use crate::progress::Silent;
use crate::serve::options::ServeOptions;

const DOCKERFILE: &str = "FROM base AS one\nRUN write /a a\nFROM base\nCOPY --from=one /a /b\nRUN write /c c\nWORKDIR /usr";

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_carries_results() {
    let (first, second) = (bed(), bed());
    let base = first.base().await;
    let mut archive = Vec::new();
    first
        .images
        .save(&["base".into()], &mut archive)
        .await
        .unwrap();
    second.images.load(&archive[..], &Silent).await.unwrap();
    assert_eq!(second.images.find("base").unwrap().id, base.id);
    let place = first.dir.path().join("cache");
    for (mode, ran) in [("min", 1), ("max", 0)] {
        let mut options = first.options(DOCKERFILE);
        options.cache_to = vec![format!("type=local,dest={},mode={mode}", place.display())];
        let made = first.run(options).await.unwrap();
        let fresh = second.dir.path().join(mode);
        let images = open(&fresh);
        images.load(&archive[..], &Silent).await.unwrap();
        let mut options = second.options(DOCKERFILE);
        options.cache_from = vec![format!("type=local,src={}", place.display())];
        let (runner, events) = (second.runner.clone(), second.events.clone());
        crate::build::shared::lock(&second.runner.steps).clear();
        let image = images
            .build(options, None, runner, events)
            .await
            .unwrap()
            .unwrap();
        // With `min` the stage before is done again, and what it gives is another file only in time.
        assert_eq!(second.ran(), ran, "{mode}: {:?}", second.events());
        assert_eq!(image.id, made.id, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_not_there_or_no_cache_is_a_warning() {
    let bed = bed();
    bed.base().await;
    let place = bed.dir.path().join("nothing");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("index.json"), "nonsense").unwrap();
    for from in [
        format!("type=local,src={}", place.display()),
        "type=local,src=/missing/cache".into(),
        "type=registry,ref=127.0.0.1:1/x/y".into(),
    ] {
        let mut options = bed.options("FROM base\nRUN write /a a");
        options.cache_from = vec![from.clone()];
        let built = tokio::time::timeout(std::time::Duration::from_secs(100), bed.run(options));
        built.await.unwrap().unwrap();
        let warned = bed.events().iter().any(
            |event| matches!(event, BuildEvent::Warning(text) if text.contains("is not used")),
        );
        assert!(warned, "{from}");
    }
    let mut options = bed.options("FROM base");
    options.cache_from = vec!["type=gha".into()];
    assert!(bed.run(options).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_can_carry_its_own_results() {
    let bed = bed();
    bed.base().await;
    let mut options = bed.options(DOCKERFILE);
    options.cache_to = vec!["type=inline".into()];
    let image = bed.run(options).await.unwrap();
    let label = &image.config.labels[crate::build::remote_cache::LABEL];
    assert!(
        label.contains("RUN write /c c") && !label.contains("RUN write /a a"),
        "{label}"
    );
}

/// Through the registry that orc has itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_carries_results() {
    let bed = bed();
    bed.base().await;
    let keeper = open(&bed.dir.path().join("keeper"));
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        writable: true,
        tls: None,
        in_use: std::sync::Arc::new(|_| None),
    };
    let mut server = keeper.serve_registry(options).await.unwrap();
    let registry = format!("127.0.0.1:{}", server.address().port());
    tokio::spawn(async move { while server.answered().await.is_some() {} });
    let mut archive = Vec::new();
    bed.images
        .save(&["base".into()], &mut archive)
        .await
        .unwrap();
    let name = format!("{registry}/app/image:1");
    let tag = crate::reference::Reference::parse(&name).unwrap();
    let mut options = bed.options(DOCKERFILE);
    options.tags = vec![tag.clone()];
    options.cache_to = vec![
        format!("type=registry,ref={registry}/app/cache:1,mode=max"),
        "type=inline".into(),
    ];
    let made = bed.run(options).await.unwrap();
    bed.images.push(&tag, None, &Silent).await.unwrap();
    for (from, ran) in [(format!("{registry}/app/cache:1"), 0), (name, 1)] {
        let images = open(&bed.dir.path().join(format!("fresh-{ran}")));
        images.load(&archive[..], &Silent).await.unwrap();
        let mut options = bed.options(DOCKERFILE);
        options.cache_from = vec![format!("type=registry,ref={from}")];
        options.cache_to = vec!["type=inline".into()];
        crate::build::shared::lock(&bed.runner.steps).clear();
        let (runner, events) = (bed.runner.clone(), bed.events.clone());
        let built = images.build(options, None, runner, events).await.unwrap();
        assert_eq!(bed.ran(), ran, "{from}: {:?}", bed.events());
        assert_eq!(built.unwrap().layers, made.layers, "{from}");
    }
}
