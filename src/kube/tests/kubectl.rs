//! What people do with kubectl, one test a family.

use crate::cluster::alone;

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: { app: web }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
      - name: one
        image: busybox:1
        env:
        - { name: A, value: a }
        - { name: B, value: b }
"#;

#[test]
fn applies_on_the_client_side() {
    alone("kubectl::applies_on_the_client_side", |k| async move {
        assert_eq!(
            k.fed("apply -f -", DEPLOYMENT).await,
            "deployment.apps/web created\n"
        );
        assert_eq!(
            k.fed("apply -f -", DEPLOYMENT).await,
            "deployment.apps/web unchanged\n"
        );
        // A strategic merge by the list's key: one variable goes, one changes, the rest stays.
        let changed = DEPLOYMENT
            .replace("{ name: A, value: a }", "{ name: A, value: z }")
            .replace("        - { name: B, value: b }\n", "");
        assert_eq!(
            k.fed("apply -f -", &changed).await,
            "deployment.apps/web configured\n"
        );
        let env = "get deploy web -o jsonpath={.spec.template.spec.containers[0].env}";
        assert_eq!(k.ok(env).await, r#"[{"name":"A","value":"z"}]"#);
        let dry = k.fed("apply -f - --dry-run=server", DEPLOYMENT).await;
        assert_eq!(dry, "deployment.apps/web configured (server dry run)\n");
        assert_eq!(k.ok(env).await, r#"[{"name":"A","value":"z"}]"#);
    });
}

#[test]
fn applies_on_the_server_side() {
    alone("kubectl::applies_on_the_server_side", |k| async move {
        let apply = "apply --server-side -f -";
        let done = "deployment.apps/web serverside-applied\n";
        assert_eq!(k.fed(apply, DEPLOYMENT).await, done);
        assert_eq!(k.fed(apply, DEPLOYMENT).await, done);
        k.ok("scale deploy web --replicas=3").await;
        let conflict = k
            .refused(apply, &DEPLOYMENT.replace("replicas: 1", "replicas: 2"))
            .await;
        assert!(
            conflict.contains("conflict") && conflict.contains(".spec.replicas"),
            "{conflict}"
        );
        let forced = DEPLOYMENT.replace("replicas: 1", "replicas: 2");
        let forced = k
            .fed("apply --server-side --force-conflicts -f -", &forced)
            .await;
        assert_eq!(forced, done);
        assert_eq!(
            k.ok("get deploy web -o jsonpath={.spec.replicas}").await,
            "2"
        );
        let fields = k.ok("get deploy web -o yaml --show-managed-fields").await;
        assert!(
            fields.contains("manager: kubectl") && fields.contains("operation: Apply"),
            "{fields}"
        );
    });
}

#[test]
fn creates_by_protobuf() {
    alone("kubectl::creates_by_protobuf", |k| async move {
        k.ok("create deployment web --image=busybox:1 --replicas=0 --port=80 -- sleep 1")
            .await;
        let spec = k.ok("get deploy web -o jsonpath={.spec.replicas}{.spec.template.spec.containers[0]['command','ports']}").await;
        assert!(spec.starts_with("0[\"sleep\",\"1\"]"), "{spec}");
        assert!(spec.contains("\"containerPort\":80"), "{spec}");
        k.ok("create namespace other").await;
        k.ok("create configmap c --from-literal=a=b").await;
        assert_eq!(k.ok("get cm c -o jsonpath={.data.a}").await, "b");
        k.ok("create secret generic s --from-literal=key=hunter2")
            .await;
        assert_eq!(
            k.ok("get secret s -o jsonpath={.data.key}{.type}").await,
            "aHVudGVyMg==Opaque"
        );
        k.ok("create serviceaccount robot").await;
        k.ok("create service clusterip web --tcp=80:8080").await;
        let ports = k
            .ok("get svc web -o jsonpath={.spec.ports[0].port}-{.spec.ports[0].targetPort}")
            .await;
        assert_eq!(ports, "80-8080");
        k.ok("create job once --image=busybox:1 -- true").await;
        let dry = k
            .ok("create deployment dry --image=x --dry-run=server -o name")
            .await;
        assert_eq!(dry, "deployment.apps/dry\n");
        assert!(k.refused("get deploy dry", "").await.contains("NotFound"));
        let twice = k.refused("create configmap c", "").await;
        assert!(twice.contains("configmaps \"c\" already exists"), "{twice}");
        // Nothing of a secret is in the audit.
        let audit = k.audit.lock().unwrap().join("\n");
        assert!(
            audit.contains("201 \"admin\" create secrets default/"),
            "{audit}"
        );
        assert!(
            !audit.contains("hunter2") && !audit.contains("aHVudGVyMg"),
            "{audit}"
        );
    });
}

#[test]
fn shows_and_finds() {
    alone("kubectl::shows_and_finds", |k| async move {
        k.fed("apply -f -", DEPLOYMENT).await;
        k.ok("create configmap a").await;
        k.ok("label cm a tier=front").await;
        let table = k.ok("get deploy").await;
        assert!(
            table.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/1"),
            "{table}"
        );
        let wide = k.ok("get deploy web -o wide").await;
        assert!(
            wide.contains("CONTAINERS") && wide.contains("app=web"),
            "{wide}"
        );
        assert_eq!(k.ok("get cm -l tier=front -o name").await, "configmap/a\n");
        let none = k.ok("get cm -l tier!=front,tier -o name").await;
        assert_eq!(none, "");
        assert_eq!(
            k.ok("get cm --field-selector metadata.name=a -o name")
                .await,
            "configmap/a\n"
        );
        let all = k.ok("get all -A").await;
        assert!(all.contains("deployment.apps/web"), "{all}");
        let described = k.ok("describe deploy web").await;
        assert!(described.contains("RollingUpdateStrategy:"), "{described}");
        let kinds = k.ok("api-resources").await;
        for line in [
            "configmaps ",
            "deployments ",
            "leases ",
            "endpointslices ",
            "selfsubjectreviews ",
        ] {
            assert!(kinds.contains(line), "{line}: {kinds}");
        }
        assert!(k.ok("api-versions").await.contains("apps/v1\n"));
        assert!(k.ok("version").await.contains("Server Version: v1.36.0"));
        let missing = k.refused("get pod nope", "").await;
        assert_eq!(
            missing,
            "Error from server (NotFound): pods \"nope\" not found\n"
        );
        let unknown = k.refused("get nonsense", "").await;
        assert!(
            unknown.contains("the server doesn't have a resource type \"nonsense\""),
            "{unknown}"
        );
    });
}

#[test]
fn explains() {
    alone("kubectl::explains", |k| async move {
        let text = k.ok("explain deployment.spec.strategy").await;
        assert!(
            text.contains("GROUP:      apps") && text.contains("rollingUpdate"),
            "{text}"
        );
        assert!(text.contains("<RollingUpdateDeployment>"), "{text}");
        let text = k
            .ok("explain pod.spec.containers.ports.containerPort")
            .await;
        assert!(text.contains("FIELD: containerPort <integer>"), "{text}");
        let text = k.ok("explain configmap --recursive").await;
        assert!(text.contains("binaryData"), "{text}");
        assert!(
            k.refused("explain pod.spec.nope", "")
                .await
                .contains("does not exist")
        );
    });
}

#[test]
fn changes() {
    alone("kubectl::changes", |k| async move {
        k.fed("apply -f -", DEPLOYMENT).await;
        let replicas = "get deploy web -o jsonpath={.spec.replicas}";
        k.ok("scale deploy web --replicas=2").await;
        assert_eq!(k.ok(replicas).await, "2");
        for (kind, patch) in [
            ("merge", r#"{"spec":{"replicas":3}}"#),
            (
                "json",
                r#"[{"op":"replace","path":"/spec/replicas","value":1}]"#,
            ),
            (
                "strategic",
                r#"{"spec":{"template":{"spec":{"containers":[{"name":"one","env":[{"name":"C","value":"c"}]}]}}}}"#,
            ),
        ] {
            let words = ["patch", "deploy", "web", "--type", kind, "-p", patch];
            let ran = k.run("admin", &words, "").await;
            assert_eq!(ran.out, "deployment.apps/web patched\n", "{ran:?}");
        }
        let env = k
            .ok("get deploy web -o jsonpath={.spec.template.spec.containers[0].env[*].name}")
            .await;
        assert_eq!(env, "A B C");
        k.ok("edit deploy web").await;
        assert_eq!(k.ok(replicas).await, "4");
        k.ok("set image deploy/web one=busybox:2").await;
        k.ok("annotate deploy web note=x").await;
        k.ok("label deploy web app- tier=front").await;
        let labels = k.ok("get deploy web -o jsonpath={.metadata.labels}").await;
        assert_eq!(labels, r#"{"tier":"front"}"#);
        k.ok("rollout pause deploy/web").await;
        assert_eq!(
            k.ok("get deploy web -o jsonpath={.spec.paused}").await,
            "true"
        );
        k.ok("rollout resume deploy/web").await;
        k.ok("rollout restart deploy/web").await;
    });
}

#[test]
fn compares() {
    alone("kubectl::compares", |k| async move {
        k.fed("apply -f -", DEPLOYMENT).await;
        assert_eq!(k.fed("diff -f -", DEPLOYMENT).await, "");
        let ran = k
            .run_as(
                "admin",
                "diff -f -",
                &DEPLOYMENT.replace("busybox:1", "busybox:2"),
            )
            .await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.out.contains("-      - image: busybox:1") || ran.out.contains("busybox:1"),
            "{ran:?}"
        );
        assert!(ran.out.contains("busybox:2"), "{ran:?}");
        k.fed(
            "replace -f -",
            &DEPLOYMENT.replace("replicas: 1", "replicas: 5"),
        )
        .await;
        assert_eq!(
            k.ok("get deploy web -o jsonpath={.spec.replicas}").await,
            "5"
        );
    });
}

#[test]
fn refuses_what_is_wrong() {
    alone("kubectl::refuses_what_is_wrong", |k| async move {
        let unknown = DEPLOYMENT.replace("replicas:", "replicsa:");
        let text = k.refused("apply -f -", &unknown).await;
        assert!(text.contains("unknown field \"spec.replicsa\""), "{text}");
        let invalid =
            DEPLOYMENT.replace("matchLabels: { app: web }", "matchLabels: { app: other }");
        let text = k.refused("apply -f -", &invalid).await;
        assert!(
            text.contains("spec.template.metadata.labels: Invalid value"),
            "{text}"
        );
        let named = DEPLOYMENT.replace("name: web", "name: Web");
        let text = k.refused("apply -f -", &named).await;
        assert!(
            text.contains("metadata.name: Invalid value: \"Web\""),
            "{text}"
        );
    });
}

#[test]
fn waits_and_deletes() {
    alone("kubectl::waits_and_deletes", |k| async move {
        k.fed("apply -f -", DEPLOYMENT).await;
        k.ok("create configmap a").await;
        let words = ["wait", "--for=delete", "cm/a", "--timeout=20s"];
        let waiting = k.command("admin", &words).spawn().unwrap();
        assert_eq!(k.ok("delete cm a").await, "configmap \"a\" deleted\n");
        let waited = waiting.wait_with_output().await.unwrap();
        assert!(waited.status.success(), "{waited:?}");
        let words = [
            "wait",
            "--for=jsonpath={.spec.replicas}=2",
            "deploy/web",
            "--timeout=20s",
        ];
        let waiting = k.command("admin", &words).spawn().unwrap();
        k.ok("scale deploy web --replicas=2").await;
        let waited = waiting.wait_with_output().await.unwrap();
        assert!(waited.status.success(), "{waited:?}");
        let pending = k
            .refused("rollout status deploy/web --timeout=2s", "")
            .await;
        assert!(pending.contains("timed out"), "{pending}");
        k.ok("delete deploy --all").await;
        assert_eq!(k.ok("get deploy -o name").await, "");
    });
}

#[test]
fn watches() {
    alone("kubectl::watches", |k| async move {
        let words = ["get", "cm", "--watch", "-o", "name", "--request-timeout=8s"];
        let watching = k.command("admin", &words).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        k.ok("create configmap one").await;
        k.ok("create configmap two").await;
        let seen = watching.wait_with_output().await.unwrap();
        let seen = String::from_utf8(seen.stdout).unwrap();
        assert_eq!(seen, "configmap/one\nconfigmap/two\n");
    });
}

#[test]
fn runs_and_exposes() {
    alone("kubectl::runs_and_exposes", |k| async move {
        k.ok("run web --image=busybox:1 --port=80 --labels=app=web")
            .await;
        k.ok("expose pod web --port=80 --name=web --type=NodePort")
            .await;
        let service = k.ok("get svc web -o wide").await;
        assert!(
            service.contains("NodePort") && service.contains("app=web"),
            "{service}"
        );
        let described = k.ok("describe pod web").await;
        assert!(
            described.contains("Image:") && described.contains("busybox:1"),
            "{described}"
        );
        assert!(k.ok("describe svc web").await.contains("Selector:"));
        assert!(k.ok("get pods").await.contains("web    0/1     Pending"));
        let events = k.kubectl("events").await;
        assert!(events.err.contains("No events found"), "{events:?}");
        assert!(k.ok("cluster-info").await.contains("is running at"));
        k.ok("create configmap c --from-literal=a=b").await;
        let copied = k.ok("get cm c -o yaml").await;
        k.ok("delete cm c").await;
        assert_eq!(k.fed("create -f -", &copied).await, "configmap/c created\n");
        k.ok("delete pod web --now --wait=false").await;
    });
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: { name: n1 }
";

const POD_THERE: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: there
  ownerReferences: [{ apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u, controller: true }]
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers: [{ name: one, image: busybox }]
";

#[test]
fn tends_nodes() {
    alone("kubectl::tends_nodes", |k| async move {
        k.fed("create -f -", NODE).await;
        k.fed("create -f -", POD_THERE).await;
        k.ok("taint node n1 a=b:NoSchedule").await;
        let described = k.ok("describe node n1").await;
        assert!(
            described.contains("Taints:             a=b:NoSchedule"),
            "{described}"
        );
        assert!(described.contains("there"), "{described}");
        assert_eq!(k.ok("cordon n1").await, "node/n1 cordoned\n");
        assert!(k.ok("get nodes").await.contains("SchedulingDisabled"));
        // Nobody runs here who would end the pod: the eviction is written down, and drain waits.
        let drained = k.kubectl("drain n1 --force --timeout=3s").await;
        assert!(
            drained.out.contains("evicting pod default/there")
                || drained.err.contains("evicting pod default/there"),
            "{drained:?}"
        );
        let pod = k
            .kubectl("get pod there -o jsonpath={.metadata.deletionTimestamp}")
            .await;
        assert!(pod.code != 0 || !pod.out.is_empty(), "{pod:?}");
        assert_eq!(k.ok("uncordon n1").await, "node/n1 uncordoned\n");
    });
}
