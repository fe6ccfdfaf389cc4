//! A post that goes over from child to child: whoever has taken office has it.

use std::time::Instant;

use nix::unistd::Pid;

use crate::process::line::Line;
use crate::process::word::Speaker;
use crate::supervisor::Event;

use super::{Child, Crew, Death};

/// The post that hangs on the line.
const OFFICE: usize = 0;

impl Crew {
    /// The end of the line for the child that was born to hold it.
    pub(in crate::process) fn take_line(&mut self) -> Option<Speaker> {
        self.line.as_mut().and_then(Line::let_go)
    }

    /// Lays a new line, if that is the post that hangs on one; false if there is no descriptor.
    pub(super) fn lay_line(&mut self, post: usize) -> bool {
        let Some(line) = self.line.as_mut().filter(|_| post == OFFICE) else { return true };
        self.departed = None;
        line.lay().is_ok()
    }

    /// Whether a child holds the post that may go over without a gap.
    pub(super) fn is_on_line(&self, child: &Child) -> bool {
        self.line.is_some() && child.post == Some(OFFICE)
    }

    /// Whoever has taken office without a gap has the post from then on.
    pub(super) fn follow_office(&mut self, now: Instant) {
        if self.line.is_none() {
            return;
        }
        let leader = Pid::from_raw(self.board.leader());
        let has_post = self.children.iter().any(|child| child.pid == leader);
        let is_known = has_post || self.departed.as_ref().is_some_and(|death| death.pid == leader);
        if let Some(row) = self.board.row_of(leader.as_raw()).filter(|_| !is_known) {
            self.departed = None;
            self.children.retain(|child| child.post != Some(OFFICE));
            let (post, beats_before) = (Some(OFFICE), row.beats());
            self.children.push(Child { pid: leader, post, row, beats_before, was_silent: false });
            self.supervisor.handle(Event::Succeeded { post: OFFICE, pid: leader.as_raw() }, now);
        }
    }

    /// The death of the last one who could lead; before that the post is not vacant, whoever died.
    pub(super) fn end_of_line(&mut self, now: Instant) -> Option<Death> {
        self.follow_office(now);
        self.line.as_ref().filter(|line| line.has_ended())?;
        let death = self.departed.take()?;
        self.died(&death, now);
        Some(death)
    }
}
