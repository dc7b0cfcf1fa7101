//! Text from outside never panics a reader, whatever it is.

use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use crate::convert::filter::{self, Filters};
use crate::convert::image::auth_from_header;
use crate::convert::mount::{bind_from_text, tmpfs_from_text};
use crate::convert::{create, path, pattern, time};
use crate::server::query::Query;
use crate::server::route::{find, split_version};
use crate::server::routes::ROUTES;
use crate::stream::Frames;
use crate::wire::container::Config;

/// A body that is nearly right: a good one with some bytes changed.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let good = br#"{"Image":"a","Cmd":["b"],"Env":["A=b"],"Healthcheck":{"Interval":1},"HostConfig":{"Binds":["/a:/b"],"PortBindings":{"80/tcp":[{"HostPort":"1"}]},"Mounts":[{"Type":"tmpfs","Target":"/t"}],"Memory":5},"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":[]}}}}"#;
    let edits = proptest::collection::vec((0..good.len(), any::<u8>()), 0..6);
    edits.prop_map(move |edits| {
        let mut body = good.to_vec();
        for (at, byte) in edits {
            body[at] = byte;
        }
        body
    })
}

proptest! {
    #[test]
    fn bodies(body in nearly_json()) {
        match path::decode::<Config>(&body) {
            Ok(config) => drop(create::spec(&config, None)),
            Err(error) => prop_assert_eq!(error.kind(), orc_base::Kind::Invalid),
        }
    }

    #[test]
    fn texts(text in "\\PC{0,40}", other in "\\PC{0,40}") {
        let _ = path::decode::<Config>(text.as_bytes());
        let _ = Query::parse(&text);
        let _ = time::moment("t", &text, Default::default());
        let _ = auth_from_header(&text);
        let _ = bind_from_text(&text, &mut Vec::new());
        let _ = tmpfs_from_text("/t", &text);
        let _ = pattern::fits(&text, &other);
        let _ = pattern::names(&text, &other);
        let _ = split_version(&text);
        let _ = find(&ROUTES, "GET", &text);
        if let Ok(filters) = Filters::parse(&text) {
            let _ = filter::containers(filters, false, None);
        }
    }

    #[test]
    fn frames(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = Frames.decode_eof(&mut buffer) {}
    }
}
