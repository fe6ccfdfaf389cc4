//! The children of one process: started, watched, killed and reaped as its [`Supervisor`] decides.

mod office;
mod reap;

use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, getpid};

use crate::board::{Board, Role, Row};
use crate::failure::Failure;
use crate::supervisor::{Action, Event, Supervisor};
use crate::sys::fork::fork;
use crate::sys::signals;
use crate::sys::wait::is_own_child;

use super::clock::{Came, Turns};
use super::failed;
use super::line::Line;
use super::log::Log;
pub(super) use reap::Death;

/// Why nobody is forked without a pipe for what he has to say.
pub(super) const NO_DESCRIPTOR: &str = "no descriptor is left (ulimit -n, fs.file-max)";

/// A place to be filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Post {
    pub(super) role: Role,
    pub(super) watch: Watch,
}

/// From when on a child is killed if its heart does not beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    FromBirth,
    /// Before that it may have to wait for a disk.
    FromFirstBeat,
    /// It may have to wait for others.
    Never,
}

/// The children of one process.
pub(super) struct Crew {
    posts: Vec<Post>,
    supervisor: Supervisor,
    board: Board<'static>,
    /// This process's own, where it counts who died.
    row: Row<'static>,
    log: Rc<Log>,
    /// The children with posts, until they are reaped.
    children: Vec<Child>,
    /// Another one, without a post.
    aside: Option<Child>,
    /// What the first post hangs on, if it goes over from child to child.
    line: Option<Line>,
    /// Who had that post and is dead, while somebody else may be about to take it.
    departed: Option<Death>,
    parent: Pid,
    turns: Turns,
    /// Whether the last start failed, which is said once.
    is_short: bool,
}

/// A child.
struct Child {
    pid: Pid,
    /// None for one that has none.
    post: Option<usize>,
    /// The row that it was given; whether it has taken it by now is not known.
    row: Row<'static>,
    /// Heartbeats that the row had seen before.
    beats_before: u64,
    /// Whether it was killed for giving no sign of life.
    was_silent: bool,
}

/// What a fork has led to.
pub(super) enum Forked<Parent> {
    Parent(Parent),
    Child(Row<'static>),
    /// There was no row, or no process, for this reason.
    Not(&'static str),
}

/// Where acting has led to.
pub(super) enum Step {
    /// Nothing is to be done before this time, unless something happens.
    Wait(Instant),
    /// This process is a child that was just born for a post, with its row of the board.
    Born(usize, Row<'static>),
    /// All children are gone, or had their time.
    End,
}

impl Crew {
    /// A crew without children yet; `row` is its process's own.
    pub(super) fn new(
        posts: Vec<Post>,
        watchdog_timeout: Duration,
        (board, row): (Board<'static>, Row<'static>),
        log: Rc<Log>,
        now: Instant,
    ) -> Self {
        Self {
            supervisor: Supervisor::new(posts.len(), watchdog_timeout, now),
            posts,
            board,
            row,
            log,
            children: Vec::new(),
            aside: None,
            line: None,
            departed: None,
            parent: getpid(),
            turns: Turns::begin(now + Turns::TIME),
            is_short: false,
        }
    }

    /// The same crew with its first post on a line: it goes over from child to child.
    pub(super) fn on_line(self) -> Self {
        Self { line: Some(Line::default()), ..self }
    }

    /// The same crew, with its posts to be filled at a later time.
    pub(super) fn put_off(mut self, until: Instant) -> Self {
        self.supervisor.put_off(until);
        self
    }

    /// The process whose children these are.
    pub(super) fn parent(&self) -> Pid {
        self.parent
    }

    /// Does all that is due.
    ///
    /// # Errors
    /// In a child that cannot begin.
    pub(super) fn act(&mut self, now: Instant) -> Result<Step, Failure> {
        while let Some(action) = self.supervisor.poll_action(now) {
            match action {
                Action::Start { post } => {
                    if let Some(row) = self.start(post, now)? {
                        return Ok(Step::Born(post, row));
                    }
                }
                Action::Kill { pid } => self.kill(Pid::from_raw(pid)),
                Action::End => return Ok(Step::End),
            }
        }
        let timeout = self.supervisor.poll_timeout();
        let due = self.turns.due();
        Ok(Step::Wait(timeout.map_or(due, |timeout| timeout.min(due))))
    }

    /// Looks after the children: reaps the dead and, once a second, listens for heartbeats.
    /// Returns those that held posts and are dead now.
    pub(super) fn tend(&mut self, now: Instant) -> Vec<Death> {
        self.follow_office(now);
        let mut deaths = self.reap(now);
        deaths.extend(self.end_of_line(now));
        // Nobody's heart has beaten while all were paused.
        if self.turns.next(now) == Some(Came::InTime) {
            self.listen(now);
        }
        if self.is_ending() && self.is_alone() {
            self.supervisor.handle(Event::Alone, now);
        }
        deaths
    }

    /// Whether nobody is left who has work to do: no child of this crew, and none of another crew
    /// that has come to this process as an orphan. A successor has none by then; and children that
    /// whoever started tine has left to it are not waited for.
    fn is_alone(&self) -> bool {
        let is_at_work = |row: Row<'_>| {
            row.role() != Some(Role::Successor)
                && row.holder().is_some_and(|pid| is_own_child(Pid::from_raw(pid)))
        };
        self.children.is_empty() && self.aside.is_none() && !self.board.rows().any(is_at_work)
    }

    fn listen(&mut self, now: Instant) {
        for &Child { pid, post, row, beats_before, .. } in &self.children {
            let count = row.beats();
            let is_heard = match post.map(|post| self.posts[post].watch) {
                Some(Watch::FromBirth) => true,
                Some(Watch::FromFirstBeat) => count != beats_before,
                Some(Watch::Never) | None => false,
            };
            if is_heard {
                self.supervisor.handle(Event::Beat { pid: pid.as_raw(), count }, now);
            }
        }
        if self.line.is_some() {
            self.listen_to_orphans(now);
        }
    }

    /// Whoever has a row and is this process's child, but holds no post, is an orphan.
    fn listen_to_orphans(&mut self, now: Instant) {
        for row in self.board.rows() {
            let Some(pid) = row.holder() else { continue };
            let has_post = self.children.iter().any(|child| child.pid.as_raw() == pid);
            if !has_post && is_own_child(Pid::from_raw(pid)) {
                self.supervisor.handle(Event::Beat { pid, count: row.beats() }, now);
            }
        }
    }

    /// Waits for everybody to leave, until `deadline`.
    pub(super) fn stop(&mut self, deadline: Instant, now: Instant) {
        self.supervisor.handle(Event::Stop { deadline }, now);
    }

    /// Waits for no more work: who dies from now on has left.
    pub(super) fn shut(&mut self, now: Instant) {
        self.supervisor.handle(Event::Shut, now);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.supervisor.is_ending()
    }

    /// Whether there are no children.
    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Whether there are children, and all of them are ready for their work.
    pub(super) fn is_ready(&self) -> bool {
        !self.children.is_empty() && self.children.iter().all(|child| child.row.is_ready())
    }

    /// Whether somebody holds a post.
    pub(super) fn has(&self, post: usize) -> bool {
        self.children.iter().any(|child| child.post == Some(post))
    }

    /// Whether nobody is there but this process, those who hold posts from `first` on, and who does
    /// no work.
    pub(super) fn has_only(&self, first: usize) -> bool {
        let stays = |pid: i32| {
            let is_child = |child: &Child| {
                child.pid.as_raw() == pid && child.post.is_some_and(|post| post >= first)
            };
            pid == self.parent.as_raw() || self.children.iter().any(is_child)
        };
        let at_work = self.board.rows().filter(|row| row.role() != Some(Role::Successor));
        at_work.filter_map(|row| row.holder()).all(stays)
    }

    /// Forks a child for a post; its row, in the child.
    fn start(&mut self, post: usize, now: Instant) -> Result<Option<Row<'static>>, Failure> {
        let forked = match self.lay_line(post) {
            true => self.fork_child(Some(post))?,
            false => Forked::Not(NO_DESCRIPTOR),
        };
        match forked {
            Forked::Child(row) => return Ok(Some(row)),
            Forked::Parent(child) => {
                self.is_short = false;
                self.supervisor.handle(Event::Started { post, pid: child.pid.as_raw() }, now);
                self.children.push(child);
            }
            Forked::Not(reason) => {
                if !self.is_short {
                    let role = self.posts[post].role.name();
                    self.log.say(&format!("cannot start a {role}: {reason}; trying again"));
                }
                self.is_short = true;
                self.supervisor.handle(Event::NotStarted { post }, now);
            }
        }
        // The child has it now, if there is one.
        drop(self.take_line());
        Ok(None)
    }

    /// Forks a child without a post, one at a time: its death is reported and nothing else done
    /// about it.
    ///
    /// # Errors
    /// In a child that cannot begin.
    pub(super) fn fork_aside(&mut self) -> Result<Forked<Pid>, Failure> {
        Ok(match self.fork_child(None)? {
            Forked::Parent(child) => {
                let pid = child.pid;
                self.aside = Some(child);
                Forked::Parent(pid)
            }
            Forked::Child(row) => Forked::Child(row),
            Forked::Not(reason) => Forked::Not(reason),
        })
    }

    fn fork_child(&self, post: Option<usize>) -> Result<Forked<Child>, Failure> {
        let parent = self.parent.as_raw();
        let Some(row) = self.board.claim(parent) else {
            return Ok(Forked::Not("too many of those before it are still there"));
        };
        match fork() {
            Ok(ForkResult::Parent { child }) => {
                let beats_before = row.beats();
                let child = Child { pid: child, post, row, beats_before, was_silent: false };
                Ok(Forked::Parent(child))
            }
            Ok(ForkResult::Child) => {
                signals::leave_to_master().map_err(failed("cannot set up a process"))?;
                if row.take(parent, getpid().as_raw()) {
                    Ok(Forked::Child(row))
                } else {
                    Err(Failure::system("the process that wanted this one has died"))
                }
            }
            Err(errno) => {
                row.unclaim(parent);
                Ok(Forked::Not(match errno {
                    Errno::EAGAIN => "a limit on processes is reached (pids.max, ulimit -u)",
                    _ => errno.desc(),
                }))
            }
        }
    }

    /// Does without the child that has no post: whatever it does is not needed any more.
    pub(super) fn abandon_aside(&mut self) {
        // It may have taken office at this very moment.
        let leader = self.board.leader();
        if let Some(Child { pid, .. }) = self.aside.take_if(|aside| aside.pid.as_raw() != leader)
            && is_own_child(pid)
        {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    /// Kills a child that is not reaped yet, and therefore keeps its pid to itself.
    fn kill(&mut self, child: Pid) {
        if !is_own_child(child) {
            // It is the child of a leader that is about to go.
            return;
        }
        if !self.supervisor.is_ending() {
            let mut role = "orphaned worker";
            if let Some(known) = self.children.iter_mut().find(|other| other.pid == child) {
                known.was_silent = true;
                role = known.post.map_or(role, |post| self.posts[post].role.name());
            }
            self.log.say(&format!("{role} {child} gives no sign of life; killing it"));
        }
        let _ = kill(child, Signal::SIGKILL);
    }
}
