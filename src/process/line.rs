//! The line on which the office hangs: every process that leads, or may come to lead, holds its end
//! and hands it on by fork. When it is let go of, nobody is left who could lead.

use crate::failure::Failure;

use super::word::{Speaker, Word};

/// The master's side of the line.
#[derive(Default)]
pub(super) struct Line {
    word: Option<Word>,
    /// Here only until the child is born that is to hold it.
    end: Option<Speaker>,
}

impl Line {
    /// Makes a new line, for a child that is about to be forked.
    ///
    /// # Errors
    /// If the system refuses a pipe.
    pub(super) fn lay(&mut self) -> Result<(), Failure> {
        let (end, word) = Word::new()?;
        *self = Self { word: Some(word), end: Some(end) };
        Ok(())
    }

    /// Lets go of the line's end: in the child, to hold it.
    pub(super) fn let_go(&mut self) -> Option<Speaker> {
        self.end.take()
    }

    /// Whether nobody is left who could lead.
    pub(super) fn has_ended(&self) -> bool {
        self.word.as_ref().is_none_or(Word::is_said)
    }
}
