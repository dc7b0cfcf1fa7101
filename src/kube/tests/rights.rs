//! Who may do what, as kubectl sees it.

use orc_kube::pki::identity::{NodeIdentity, Role, Subject};

use crate::cluster::alone;

#[test]
fn administrators_ask_who_they_are() {
    alone("rights::administrators_ask_who_they_are", |k| async move {
        let who = k.ok("auth whoami").await;
        assert!(who.contains("Username    admin"), "{who}");
        assert!(
            who.contains("[system:masters system:authenticated]"),
            "{who}"
        );
        assert_eq!(k.ok("auth can-i delete nodes").await, "yes\n");
        assert!(k.ok("auth can-i --list").await.contains("*.*"));
    });
}

#[test]
fn a_service_account_reads_its_namespace_until_it_is_gone() {
    let name = "rights::a_service_account_reads_its_namespace_until_it_is_gone";
    alone(name, |k| async move {
        k.ok("create serviceaccount robot").await;
        let token = k.ok("create token robot --duration=20m").await;
        k.token("robot", token.trim());
        let who = k.run_as("robot", "auth whoami", "").await;
        assert!(
            who.out.contains("system:serviceaccount:default:robot"),
            "{who:?}"
        );
        let seen = k.run_as("robot", "get cm", "").await;
        assert_eq!(seen.code, 0, "{seen:?}");
        for (asked, answered) in [
            ("auth can-i list pods", "yes"),
            ("auth can-i get secrets", "no"),
            ("auth can-i create pods", "no"),
            ("auth can-i list pods -n other", "no"),
        ] {
            let ran = k.run_as("robot", asked, "").await;
            assert!(ran.out.starts_with(answered), "{asked}: {ran:?}");
        }
        let refused = k.run_as("robot", "create configmap x", "").await;
        assert!(
            refused.err.contains(
                r#"configmaps is forbidden: User "system:serviceaccount:default:robot" cannot create resource "configmaps" in API group "" in the namespace "default""#
            ),
            "{refused:?}"
        );
        k.ok("delete serviceaccount robot").await;
        let gone = k.run_as("robot", "get cm", "").await;
        assert!(gone.err.contains("Unauthorized"), "{gone:?}");
        k.token("mallory", &format!("{}x", token.trim()));
        let wrong = k.run_as("mallory", "get cm", "").await;
        assert!(wrong.err.contains("Unauthorized"), "{wrong:?}");
    });
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: { name: n1 }
";

#[test]
fn a_node_touches_only_itself() {
    alone("rights::a_node_touches_only_itself", |k| async move {
        let identity = NodeIdentity::new("test", "n1", Role::Worker).unwrap();
        let names = vec![];
        k.user("n1", &Subject::Node { identity, names });
        let made = k.run_as("n1", "create -f -", NODE).await;
        assert_eq!(made.out, "node/n1 created\n", "{made:?}");
        let other = k
            .run_as("n1", "create -f -", &NODE.replace("n1", "n2"))
            .await;
        assert!(other.err.contains("is forbidden"), "{other:?}");
        for (words, reason) in [
            (
                vec![
                    "patch",
                    "node",
                    "n1",
                    "--type=merge",
                    "-p",
                    r#"{"metadata":{"labels":{"node-role.kubernetes.io/x":"y"}}}"#,
                ],
                "a node may not change the labels that others give it",
            ),
            (
                vec![
                    "patch",
                    "node",
                    "n1",
                    "--type=merge",
                    "-p",
                    r#"{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}"#,
                ],
                "a node may not change its own taints",
            ),
            (
                vec![
                    "patch",
                    "node",
                    "n1",
                    "--type=merge",
                    "-p",
                    r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"u"}]}}"#,
                ],
                "a node may not give itself an owner",
            ),
            (
                vec![
                    "patch",
                    "node",
                    "n1",
                    "--type=json",
                    "-p",
                    r#"[{"op":"add","path":"/metadata/labels","value":{}}]"#,
                ],
                "a node may not use JSON patches on itself",
            ),
            (vec!["delete", "node", "n1"], "cannot delete resource"),
            (vec!["get", "secrets", "-A"], "cannot list resource"),
        ] {
            let ran = k.run("n1", &words, "").await;
            assert!(ran.err.contains(reason), "{words:?}: {ran:?}");
        }
        let status = r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
        let words = ["patch", "node", "n1", "--subresource=status", "-p", status];
        let patched = k.run("n1", &words, "").await;
        assert_eq!(patched.code, 0, "{patched:?}");
        assert!(k.ok("get nodes").await.contains("n1     Ready"));
    });
}
