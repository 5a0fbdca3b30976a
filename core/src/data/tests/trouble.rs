//! A disk that does not do what a journal wants, and a journal that does not take for such a disk what is none.

use super::journal::Node;
use super::*;

#[test]
fn what_is_live_is_counted_where_only_the_application_changes() {
    let of = |app: &str, version| Publisher {
        app: app.into(),
        ..publisher("a", version, 1, "text")
    };
    let mut node = Node::new();
    node.put("s", of("a", 1));
    node.settle();

    node.put("s", of("an application with a long name", 2));
    node.settle();
    node.remove("s", "a", closed(2, 1));
    node.settle();

    assert_eq!(node.data.journal().live_bytes(), 0);
}
