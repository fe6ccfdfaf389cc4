//! What a leader and its workers tell each other.

use mio::Poll;

use crate::failure::Failure;
use crate::process::word::{Speaker, Word};

use super::READY;

/// What a leader and its workers tell each other.
pub(super) struct Words {
    /// To the workers, to look at the board; said in office.
    pub(super) say_look: Option<Speaker>,
    pub(super) look: Word,
    /// The same once more, by the leader's end.
    _say_gone: Speaker,
    pub(super) gone: Word,
    /// From the first workers, that they are ready; theirs alone once they are there.
    pub(super) say_ready: Option<Speaker>,
    /// Held so that the poll can say it.
    _ready: Word,
}

impl Words {
    pub(super) fn new(poll: &Poll) -> Result<Self, Failure> {
        let (say_look, look) = Word::new()?;
        let (say_gone, gone) = Word::new()?;
        let (say_ready, ready) = Word::new()?;
        ready.watch(poll, READY)?;
        let (say_look, say_ready) = (Some(say_look), Some(say_ready));
        Ok(Self { say_look, look, _say_gone: say_gone, gone, say_ready, _ready: ready })
    }
}
