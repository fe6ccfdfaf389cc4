//! Files that are held in memory.

use crate::http::etag::ETag;

/// A body in memory, and in front of it all of its 200 head but what the moment adds. A site may
/// have a hundred thousand of these: head, tag and body share one allocation.
#[derive(Debug)]
pub struct Held {
    bytes: Box<[u8]>,
    head_len: u32,
    /// Where the entity tag stands in the head.
    etag_at: u32,
}

impl Held {
    /// Puts a head and a body together.
    pub(super) fn new(head: &[u8], body: &[u8]) -> Self {
        const NAME: &[u8] = b"\r\nETag: ";
        let name_at = head.windows(NAME.len()).position(|window| window == NAME);
        let etag_at = name_at.map_or(head.len(), |at| at + NAME.len());
        let short = |len: usize| u32::try_from(len).expect("a head has a few hundred bytes");
        let (head_len, etag_at) = (short(head.len()), short(etag_at));
        Self { bytes: [head, body].concat().into(), head_len, etag_at }
    }

    /// The 200 head without its end.
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_len as usize]
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head_len as usize..]
    }

    /// The entity tag, if the head has one.
    pub fn etag(&self) -> Option<ETag> {
        ETag::at_start_of(&self.head()[self.etag_at as usize..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_tag_and_body_are_found_again() {
        let etag = ETag::of(b"body");
        let head = format!("HTTP/1.1 200 OK\r\nETag: {}\r\nA: b\r\n", etag.as_str());
        let held = Held::new(head.as_bytes(), b"body");
        assert_eq!((held.head(), held.body()), (head.as_bytes(), &b"body"[..]));
        assert_eq!(held.etag(), Some(etag));
        assert_eq!(Held::new(b"HTTP/1.1 200 OK\r\n", b"").etag(), None);
    }
}
