//! exec, attach, logs and port-forward by the real kubectl.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::cluster::{Cluster, alone};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: { name: web }
spec:
  containers: [{ name: one, image: busybox }]
";

/// A pod that seems to run.
async fn pod(k: &Cluster) {
    k.fed("create -f -", POD).await;
    let running = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"one","ready":true,"restartCount":0,"image":"busybox","imageID":"","state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}}"#;
    let words = [
        "patch",
        "pod",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        running,
    ];
    let ran = k.run("admin", &words, "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn runs_programs() {
    alone("streams::runs_programs", |k| async move {
        pod(&k).await;
        assert_eq!(k.ok("exec web -- echo a b").await, "a b\n");
        assert_eq!(
            k.fed("exec -i web -- cat", "from here\n").await,
            "from here\n"
        );
        let large = "0123456789abcdef".repeat(100_000);
        assert_eq!(k.fed("exec -i web -- cat", &large).await, large);
        let failed = k.kubectl("exec web -- fail").await;
        assert_eq!(failed.code, 7, "{failed:?}");
        assert!(failed.err.contains("it failed"), "{failed:?}");
        let unknown = k.kubectl("exec web -- nonsense").await;
        assert!(unknown.err.contains("no program"), "{unknown:?}");
        let attached = k.kubectl("attach web").await;
        assert!(attached.out.contains("attached"), "{attached:?}");
        let audit = k.audit.lock().unwrap().join("\n");
        assert!(
            audit.contains("101 \"admin\" create pods/exec default/web"),
            "{audit}"
        );
    });
}

#[test]
fn reads_logs() {
    alone("streams::reads_logs", |k| async move {
        pod(&k).await;
        assert_eq!(k.ok("logs web").await, "first line\nsecond line\n");
        assert_eq!(k.ok("logs -f web --tail=1").await, "second line\n");
        let wrong = k.refused("logs web -c two", "").await;
        assert!(wrong.contains("two"), "{wrong}");
    });
}

#[test]
fn forwards_ports() {
    alone("streams::forwards_ports", |k| async move {
        pod(&k).await;
        let words = ["port-forward", "pod/web", "8080:80", "8081:81"];
        let mut forwarding = k.command("admin", &words).spawn().unwrap();
        let mut lines = BufReader::new(forwarding.stdout.take().unwrap()).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("127.0.0.1:8081") {
                    return;
                }
            }
            panic!("port-forward ended");
        };
        tokio::time::timeout(Duration::from_secs(20), ready)
            .await
            .unwrap();
        for word in ["hello", "again"] {
            let mut stream = tokio::net::TcpStream::connect("127.0.0.1:8080")
                .await
                .unwrap();
            stream.write_all(word.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            tokio::time::timeout(Duration::from_secs(10), read)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(answer, format!("you said {word}"));
        }
        let mut stream = tokio::net::TcpStream::connect("127.0.0.1:8081")
            .await
            .unwrap();
        let mut answer = String::new();
        // kubectl closes or resets it.
        let read = stream.read_to_string(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap();
        assert_eq!(answer, "");
        let mut errors = BufReader::new(forwarding.stderr.take().unwrap()).lines();
        let told = async {
            while let Ok(Some(line)) = errors.next_line().await {
                if line.contains("connection refused") {
                    return;
                }
            }
            panic!("kubectl was not told");
        };
        tokio::time::timeout(Duration::from_secs(10), told)
            .await
            .unwrap();
    });
}

#[test]
fn runs_programs_at_a_terminal() {
    alone("streams::runs_programs_at_a_terminal", |k| async move {
        pod(&k).await;
        // `script` gives kubectl a terminal of its own.
        let line = "stty rows 30 cols 100; kubectl exec -it web -- size";
        let words = ["-qec", line, "/dev/null"];
        let run = k.program("script", "admin", &words).output();
        let output = tokio::time::timeout(Duration::from_secs(20), run).await;
        let output = output.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("terminal of 100 x 30"), "{text}");
    });
}

#[test]
fn debugs() {
    alone("streams::debugs", |k| async move {
        pod(&k).await;
        k.ok("debug web --image=busybox:2 --container=look -- sleep 1")
            .await;
        let images = k
            .ok("get pod web -o jsonpath={.spec.ephemeralContainers[*].image}")
            .await;
        assert_eq!(images, "busybox:2");
    });
}
