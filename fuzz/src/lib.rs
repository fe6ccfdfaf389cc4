//! The bodies of the targets; they are tests of tine's as well.

#[path = "../../tests/fuzz/bodies.rs"]
pub mod bodies;
#[path = "../../tests/fuzz/conversations.rs"]
pub mod conversations;
#[path = "../../tests/fuzz/images.rs"]
pub mod images;
#[path = "../../tests/fuzz/lines.rs"]
pub mod lines;
#[path = "../../tests/common/site.rs"]
mod site;
#[path = "../../tests/common/socket.rs"]
mod socket;
