//! Bytes that were read before they could be answered.

/// A queue of bytes that takes no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    start: usize,
}

impl Kept {
    /// What is in the queue, the oldest byte first.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes `len` bytes from the front, and gives the memory back with the last of them.
    pub(super) fn consume(&mut self, len: usize) {
        self.start += len;
        debug_assert!(self.start <= self.bytes.len(), "more was consumed than there is");
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_memory_with_the_last() {
        let mut kept = Kept::default();
        kept.push(b"abc");
        kept.consume(1);
        kept.push(b"d");
        assert_eq!(kept.bytes(), b"bcd");
        kept.consume(3);
        assert!(kept.is_empty());
        assert_eq!(kept.bytes.capacity(), 0);
    }
}
