//! Decisions about owners and what is theirs.

use super::{check, decide};
use crate::control::owners::Owners;

const RULE: Owners = Owners;

#[test]
fn deletes_what_nobody_owns_any_more() {
    check(
        &RULE,
        "pod default/a",
        "pod default/a owner=rs/web",
        "?gone",
    );
    check(
        &RULE,
        "pod default/a",
        "pod default/a owner=rs/web\n rs default/web",
        "",
    );
    // Another object of the same name is another owner; so is one of another namespace.
    let found = decide(
        &RULE,
        "pod default/a",
        "pod default/a owner=rs/web\n rs default/web uid=new",
    );
    assert!(found.starts_with("delete"), "{found}");
    let found = decide(
        &RULE,
        "pod default/a",
        "pod default/a owner=rs/web\n rs other/web",
    );
    assert!(found.starts_with("delete"), "{found}");
    // Nobody knows whether an owner of an unknown kind is there.
    check(&RULE, "pod default/a", "pod default/a owner=thing/x", "");
    check(
        &RULE,
        "pod default/a",
        "pod default/a owner=rs/web owner=cm/conf/\n cm default/conf",
        "?keeps",
    );
}

#[test]
fn lets_owners_go_last_first_or_alone() {
    let web = "rs default/web leaving finalizer=foregroundDeletion";
    let state = format!("{web}\n pod default/a owner=rs/web!\n pod default/b owner=rs/web");
    check(&RULE, "pod default/a", &state, "?foreground-pod");
    check(&RULE, "rs default/web", &state, "");
    let state = format!("{web}\n pod default/b owner=rs/web");
    check(&RULE, "rs default/web", &state, "?foreground-owner");
    let state = "rs default/web leaving finalizer=orphan\n pod default/a owner=rs/web";
    check(&RULE, "rs default/web", state, "?orphan-1");
    check(
        &RULE,
        "rs default/web",
        "rs default/web leaving finalizer=orphan",
        "?orphan-2",
    );
}

#[test]
fn ends_circles() {
    let state = "
        cm default/a leaving finalizer=foregroundDeletion owner=cm/b!
        cm default/b leaving finalizer=foregroundDeletion owner=cm/c!
        cm default/c leaving finalizer=foregroundDeletion owner=cm/a!";
    check(&RULE, "cm default/a", state, "?circle");
    // A circle that nobody deletes stays.
    let whole = state.replace("leaving finalizer=foregroundDeletion ", "");
    check(&RULE, "cm default/a", &whole, "");
}
