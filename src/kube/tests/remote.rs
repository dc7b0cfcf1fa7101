//! The objects from afar keep the contract of the objects, and tell what a caller must know when members go.

use std::sync::Arc;

use orc_base::clock::SystemClock;
use orc_kube::kinds::{CONFIG_MAP, NODE};
use orc_kube::pki::identity::{NodeIdentity, Role, Subject};
use orc_kube::pki::tls;
use orc_kube::pki::trust::open_gate;
use orc_kube::remote::{Member, RemoteObjects};
use orc_kube::server::listen;
use orc_kube::{Object, Objects, Reason, Scope, Target, WriteOptions, contract};

use crate::cluster::{Cluster, PORT, alone};

/// The members, of which the first is not there.
fn members(name: &str) -> Vec<Member> {
    let member = |port: u16| Member {
        address: ([127, 0, 0, 1], port).into(),
        name: name.to_owned().try_into().unwrap(),
    };
    vec![member(1), member(PORT)]
}

fn objects(cluster: &Cluster, subject: &Subject) -> RemoteObjects {
    let shown = Some(cluster.live(subject));
    let protocols = listen::PROTOCOLS;
    let clock = Arc::new(SystemClock);
    let tls = tls::client(shown, cluster.trust(), open_gate(), protocols, clock).unwrap();
    RemoteObjects::new(members("m1.node.test.orc.internal"), tls)
}

fn administrator() -> Subject {
    Subject::User {
        name: "admin".to_owned(),
        groups: vec!["system:masters".to_owned()],
    }
}

#[test]
fn keeps_the_contract() {
    alone("remote::keeps_the_contract", |cluster| async move {
        cluster.namespace("suite").await;
        let objects = objects(&cluster, &administrator());
        contract::check(&objects, "suite").await;
    });
}

#[test]
fn says_who_refused_and_why() {
    alone("remote::says_who_refused_and_why", |cluster| async move {
        let worker = Subject::Node {
            identity: NodeIdentity::new("test", "w1", Role::Worker).unwrap(),
            names: vec![],
        };
        let remote = objects(&cluster, &worker);
        let options = WriteOptions::by("w1");
        let node = |name| Object::new("v1", "Node", "", name);
        let scope = Scope::all(&NODE);
        let own = remote.create(&scope, node("w1"), &options).await.unwrap();
        assert!(own.created);
        let other = remote
            .create(&scope, node("w2"), &options)
            .await
            .unwrap_err();
        assert_eq!(other.reason(), Reason::Forbidden, "{other}");

        let admin = objects(&cluster, &administrator());
        let target = Target::new(&CONFIG_MAP, "default", "none");
        let none = admin.get(&target, "").await.unwrap_err();
        assert_eq!(none.to_string(), "configmaps \"none\" not found");
        let mut wrong = Object::new("v1", "ConfigMap", "default", "Upper");
        wrong.set(&["data", "k"], "v");
        let scope = Scope::inside(&CONFIG_MAP, "default");
        let invalid = admin.create(&scope, wrong, &options).await.unwrap_err();
        assert_eq!(invalid.reason(), Reason::Invalid);
        assert_eq!(invalid.causes()[0].field, "metadata.name");

        // A certificate of another name, and nobody at all.
        let tls = |subject| {
            let shown = Some(cluster.live(subject));
            let clock = Arc::new(SystemClock);
            tls::client(
                shown,
                cluster.trust(),
                open_gate(),
                listen::PROTOCOLS,
                clock,
            )
            .unwrap()
        };
        let admin = administrator();
        let elsewhere = RemoteObjects::new(members("m2.node.test.orc.internal"), tls(&admin));
        let refused = elsewhere.get(&target, "").await.unwrap_err();
        assert!(
            refused
                .message()
                .contains("certificate is that of another machine"),
            "{refused}"
        );
        let nobody = RemoteObjects::new(
            members("m1.node.test.orc.internal")[..1].to_vec(),
            tls(&admin),
        );
        let silent = nobody.get(&target, "").await.unwrap_err();
        assert_eq!(silent.reason(), Reason::ServiceUnavailable, "{silent}");
    });
}
