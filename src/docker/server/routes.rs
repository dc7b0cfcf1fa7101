//! The table of all requests that are answered.
//!
//! The first row that fits is taken, so fixed addresses stand before those with a name in them.

use crate::server::route::Route;
use crate::server::{
    archive, builds, containers, disk, execs, images, networks, output, registries, stats, system,
    transfers, volumes,
};

macro_rules! table {
    ($($method:ident $pattern:literal $handler:path;)*) => {
        [$(Route {
            method: stringify!($method),
            pattern: $pattern,
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// All rows.
pub(crate) static ROUTES: [Route; 99] = table! {
    GET "/_ping" system::ping;
    GET "/version" system::version;
    GET "/info" system::info;
    GET "/events" system::events;
    GET "/system/df" disk::usage;
    POST "/auth" registries::log_in;
    GET "/plugins" system::plugins;
    POST "/orc/system/check" disk::check;
    GET "/orc/tags" registries::tags;
    GET "/orc/artifact" registries::pull_artifact;
    POST "/orc/artifact" registries::push_artifact;
    POST "/orc/registry" registries::serve;

    GET "/containers/json" containers::list;
    POST "/containers/create" containers::create;
    POST "/containers/prune" disk::prune_containers;
    GET "/containers/{}/json" containers::inspect;
    POST "/containers/{}/start" containers::start;
    POST "/containers/{}/stop" containers::stop;
    POST "/containers/{}/restart" containers::restart;
    POST "/containers/{}/kill" containers::kill;
    POST "/containers/{}/pause" containers::pause;
    POST "/containers/{}/unpause" containers::unpause;
    POST "/containers/{}/rename" containers::rename;
    POST "/containers/{}/resize" containers::resize;
    POST "/containers/{}/wait" containers::wait;
    GET "/containers/{}/top" containers::top;
    GET "/containers/{}/logs" output::logs;
    POST "/containers/{}/attach" output::attach;
    GET "/containers/{}/attach/ws" system::unsupported;
    GET "/containers/{}/stats" stats::stats;
    POST "/containers/{}/update" containers::update;
    GET "/containers/{}/changes" archive::changes;
    GET "/containers/{}/export" archive::export;
    HEAD "/containers/{}/archive" archive::stat;
    GET "/containers/{}/archive" archive::read;
    PUT "/containers/{}/archive" archive::write;
    POST "/orc/containers/{}/remove-paths" archive::remove;
    POST "/containers/{}/exec" execs::create;
    DELETE "/containers/{}" containers::remove;
    POST "/exec/{}/start" execs::start;
    POST "/exec/{}/resize" execs::resize;
    GET "/exec/{}/json" execs::inspect;

    GET "/images/json" images::list;
    GET "/images/search" system::unsupported;
    POST "/images/create" transfers::create;
    POST "/images/load" transfers::load;
    POST "/images/prune" disk::prune_images;
    GET "/images/get" transfers::save;
    GET "/images/{..}/get" transfers::save;
    GET "/images/{..}/json" images::inspect;
    GET "/images/{..}/history" images::history;
    POST "/images/{..}/push" transfers::push;
    POST "/images/{..}/tag" images::tag;
    DELETE "/images/{..}" images::remove;
    GET "/distribution/{..}/json" registries::look_up;
    POST "/commit" archive::commit;
    POST "/build" builds::classic;
    POST "/orc/build" builds::own;
    POST "/build/prune" disk::prune_builds;
    POST "/build/cancel" system::no_build;
    POST "/session" system::no_build;
    POST "/grpc" system::no_build;

    GET "/networks" networks::list;
    POST "/networks/create" networks::create;
    POST "/networks/prune" disk::prune_networks;
    POST "/networks/{}/connect" networks::connect;
    POST "/networks/{}/disconnect" networks::disconnect;
    GET "/networks/{}" networks::inspect;
    DELETE "/networks/{}" networks::remove;

    GET "/volumes" volumes::list;
    POST "/volumes/create" volumes::create;
    POST "/volumes/prune" disk::prune_volumes;
    PUT "/volumes/{}" system::unsupported;
    GET "/volumes/{}" volumes::inspect;
    DELETE "/volumes/{}" volumes::remove;

    GET "/swarm" system::no_swarm;
    POST "/swarm/init" system::unsupported;
    POST "/swarm/join" system::unsupported;
    POST "/swarm/leave" system::no_swarm;
    POST "/swarm/update" system::no_swarm;
    POST "/swarm/unlock" system::no_swarm;
    GET "/swarm/unlockkey" system::no_swarm;
    GET "/nodes" system::no_swarm;
    GET "/nodes/{}" system::no_swarm;
    POST "/nodes/{}/update" system::no_swarm;
    DELETE "/nodes/{}" system::no_swarm;
    GET "/services" system::no_swarm;
    POST "/services/create" system::no_swarm;
    GET "/services/{}" system::no_swarm;
    DELETE "/services/{}" system::no_swarm;
    GET "/services/{}/logs" system::no_swarm;
    GET "/tasks" system::no_swarm;
    GET "/tasks/{}" system::no_swarm;
    GET "/secrets" system::no_swarm;
    GET "/secrets/{}" system::no_swarm;
    POST "/secrets/create" system::no_swarm;
    GET "/configs" system::no_swarm;
    GET "/configs/{}" system::no_swarm;
    POST "/configs/create" system::no_swarm;
};
