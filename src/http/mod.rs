//! HTTP/1.1 as pure functions over bytes: no socket, no file, no clock.
//!
//! This floor knows the grammar and the rules of RFC 9110 and RFC 9112. It refuses to know what
//! there is to serve, who is connected and what time it is: all of that is handed to it.

pub mod coding;
pub mod date;
pub mod etag;
pub mod extra;
pub mod fields;
pub mod framing;
pub mod head;
pub mod limits;
pub mod method;
pub mod navigation;
pub mod octets;
pub mod precondition;
pub mod range;
pub mod reject;
pub mod request;
pub mod status;
pub mod target;
