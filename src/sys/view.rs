//! Memory that this process reads while another one writes beside it.

use std::marker::PhantomData;
use std::slice;

/// A read-only view of the arena, or of any bytes.
///
/// Offsets are counted from its start. A copy views the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct View<'m> {
    start: *const u8,
    len: u64,
    memory: PhantomData<&'m [u8]>,
}

// SAFETY: a view is a shared reference in all but name: it never writes.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}

impl<'m> View<'m> {
    /// Views bytes that do not change as long as they are borrowed.
    pub fn of(bytes: &'m [u8]) -> Self {
        Self { start: bytes.as_ptr(), len: bytes.len() as u64, memory: PhantomData }
    }

    /// Views `len` bytes at `start`.
    ///
    /// # Safety
    /// They stay mapped and readable for `'m`. While a slice from [`View::bytes`] is alive its
    /// bytes are not written, nor their pages punched: a reader asks only for what the generation
    /// that it has adopted names, or what it has pinned, and the compiler leaves both alone
    /// (`control::publication`, `control::space`).
    pub(crate) unsafe fn from_raw(start: *const u8, len: u64) -> Self {
        Self { start, len, memory: PhantomData }
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of a range, or `None` if it is not wholly inside.
    pub fn bytes(&self, offset: u64, len: u64) -> Option<&'m [u8]> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
        // SAFETY: the range is inside of what the constructor was promised, which also holds that
        // it is not written meanwhile.
        Some(unsafe { slice::from_raw_parts(self.start.add(offset), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_outside_of_the_view_are_none() {
        let view = View::of(b"0123456789");
        assert_eq!(view.bytes(2, 3), Some(&b"234"[..]));
        assert_eq!(view.bytes(10, 0), Some(&b""[..]));
        assert_eq!(view.bytes(9, 2), None);
        assert_eq!(view.bytes(11, 0), None);
        assert_eq!(view.bytes(u64::MAX, 2), None);
    }
}
