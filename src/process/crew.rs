//! The children of one process: started, watched, killed and reaped as its [`Supervisor`] decides.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, getpid};

use crate::board::{Board, Row};
use crate::failure::Failure;
use crate::supervisor::{Action, Event, Supervisor};
use crate::sys::fork::fork;
use crate::sys::signals;

use super::line::Line;
use super::word::Speaker;
use super::{failed, say};

/// How often hearts are looked at.
const TURN: Duration = Duration::from_secs(1);

/// From when on a child is killed if its heart does not beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    FromBirth,
    /// Before that it may have to wait for a disk. Orphans are watched too: nobody else would.
    FromFirstBeat,
}

/// The children of one process.
pub(super) struct Crew {
    /// What one of them is called.
    role: &'static str,
    watch: Watch,
    supervisor: Supervisor,
    board: Board<'static>,
    /// The children with posts, until they are reaped.
    children: Vec<Child>,
    /// Another one, without a post.
    aside: Option<Child>,
    /// What the one post hangs on, if it goes over from child to child.
    line: Option<Line>,
    /// Who had that post and is dead, while somebody else may be about to take it.
    departed: Option<Death>,
    parent: Pid,
    turn_at: Instant,
    /// Whether the last start failed, which is said once.
    is_short: bool,
}

/// A child with a post.
struct Child {
    pid: Pid,
    /// The row that it was given; whether it has taken it by now is not known.
    row: Row<'static>,
    /// Heartbeats that the row had seen before.
    beats_before: u64,
}

/// A child's end.
pub(super) struct Death {
    pub(super) pid: Pid,
    status: WaitStatus,
    /// Whether it had come so far as to do its work.
    was_ready: bool,
}

impl Death {
    /// The code with which it ended by itself.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self.status {
            WaitStatus::Exited(_, code) => Some(code),
            _ => None,
        }
    }

    /// Its cause in words.
    pub(super) fn cause(&self) -> String {
        match self.status {
            WaitStatus::Exited(_, code) => format!("exit code {code}"),
            WaitStatus::Signaled(_, signal, _) => signal.to_string(),
            other => format!("{other:?}"),
        }
    }
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
    /// This process is a child that was just born, with its row of the board.
    Born(Row<'static>),
    /// All children are gone, or had their time.
    End,
}

impl Crew {
    pub(super) fn new(
        role: &'static str,
        posts: usize,
        watch: Watch,
        watchdog: Duration,
        board: Board<'static>,
        now: Instant,
    ) -> Self {
        Self {
            role,
            watch,
            supervisor: Supervisor::new(posts, watchdog, now),
            board,
            children: Vec::new(),
            aside: None,
            line: None,
            departed: None,
            parent: getpid(),
            turn_at: now + TURN,
            is_short: false,
        }
    }

    /// The same crew with its one post on a line: it goes over from child to child.
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

    /// The end of the line for the child that was born to hold it.
    pub(super) fn take_line(&mut self) -> Option<Speaker> {
        self.line.as_mut().and_then(Line::let_go)
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
                        return Ok(Step::Born(row));
                    }
                }
                Action::Kill { pid } => self.kill(Pid::from_raw(pid)),
                Action::End => return Ok(Step::End),
            }
        }
        let timeout = self.supervisor.poll_timeout();
        Ok(Step::Wait(timeout.map_or(self.turn_at, |timeout| timeout.min(self.turn_at))))
    }

    /// Looks after the children: reaps the dead and, once a second, listens for heartbeats.
    /// Returns those that held posts and are dead now.
    pub(super) fn tend(&mut self, now: Instant) -> Vec<Death> {
        self.follow_office(now);
        let mut deaths = self.reap(now);
        deaths.extend(self.end_of_line(now));
        if now >= self.turn_at {
            self.listen(now);
        }
        deaths
    }

    fn listen(&mut self, now: Instant) {
        // A turn that comes this late tells that this process was paused, and the others with it.
        let was_paused = now > self.turn_at + TURN / 2;
        self.turn_at = now + TURN;
        if was_paused {
            return;
        }
        for &Child { pid, row, beats_before } in &self.children {
            let count = row.beats();
            if self.watch == Watch::FromBirth || count != beats_before {
                self.supervisor.handle(Event::Beat { pid: pid.as_raw(), count }, now);
            }
        }
        if self.watch == Watch::FromFirstBeat {
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

    /// Whoever has taken office without a gap has the post from then on.
    fn follow_office(&mut self, now: Instant) {
        if self.line.is_none() {
            return;
        }
        let leader = Pid::from_raw(self.board.leader());
        let has_post = self.children.iter().any(|child| child.pid == leader);
        let is_known = has_post || self.departed.as_ref().is_some_and(|death| death.pid == leader);
        if let Some(row) = self.board.row_of(leader.as_raw()).filter(|_| !is_known) {
            self.departed = None;
            self.children = vec![Child { pid: leader, row, beats_before: row.beats() }];
            self.supervisor.handle(Event::Succeeded { post: 0, pid: leader.as_raw() }, now);
        }
    }

    /// The death of the last one who could lead; before that the post is not vacant, whoever died.
    fn end_of_line(&mut self, now: Instant) -> Option<Death> {
        self.follow_office(now);
        self.line.as_ref().filter(|line| line.has_ended())?;
        let death = self.departed.take()?;
        self.died(&death, now);
        Some(death)
    }

    fn died(&mut self, death: &Death, now: Instant) {
        let (pid, was_ready) = (death.pid.as_raw(), death.was_ready);
        self.supervisor.handle(Event::Died { pid, was_ready }, now);
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

    /// Forks a child for a post; its row, in the child.
    fn start(&mut self, post: usize, now: Instant) -> Result<Option<Row<'static>>, Failure> {
        if let Some(line) = &mut self.line {
            self.departed = None;
            line.lay()?;
        }
        match self.fork_child()? {
            Forked::Child(row) => return Ok(Some(row)),
            Forked::Parent(child) => {
                self.is_short = false;
                self.supervisor.handle(Event::Started { post, pid: child.pid.as_raw() }, now);
                self.children.push(child);
            }
            Forked::Not(reason) => {
                if !self.is_short {
                    say(&format!("cannot start a {}: {reason}; trying again", self.role));
                }
                self.is_short = true;
                self.supervisor.handle(Event::NotStarted { post }, now);
            }
        }
        if let Some(line) = &mut self.line {
            line.let_go();
        }
        Ok(None)
    }

    /// Forks a child without a post, one at a time: its death is reported and nothing else done
    /// about it.
    ///
    /// # Errors
    /// In a child that cannot begin.
    pub(super) fn fork_aside(&mut self) -> Result<Forked<Pid>, Failure> {
        Ok(match self.fork_child()? {
            Forked::Parent(child) => {
                let pid = child.pid;
                self.aside = Some(child);
                Forked::Parent(pid)
            }
            Forked::Child(row) => Forked::Child(row),
            Forked::Not(reason) => Forked::Not(reason),
        })
    }

    fn fork_child(&self) -> Result<Forked<Child>, Failure> {
        let parent = self.parent.as_raw();
        let Some(row) = self.board.claim(parent) else {
            return Ok(Forked::Not("too many of those before it are still there"));
        };
        match fork() {
            Ok(ForkResult::Parent { child }) => {
                Ok(Forked::Parent(Child { pid: child, row, beats_before: row.beats() }))
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

    /// Kills a child that is not reaped yet, and therefore keeps its pid to itself.
    fn kill(&self, child: Pid) {
        if !is_own_child(child) {
            // It is the child of a leader that is about to go.
            return;
        }
        if !self.supervisor.is_ending() {
            let has_post = self.children.iter().any(|other| other.pid == child);
            let role = if has_post { self.role } else { "orphaned worker" };
            say(&format!("{role} {child} gives no sign of life; killing it"));
        }
        let _ = kill(child, Signal::SIGKILL);
    }

    /// Reaps every child that is dead, adopted ones too. What it had on the board is cleared while
    /// its pid is still its own: a parent that dies in between leaves the rest to the master.
    fn reap(&mut self, now: Instant) -> Vec<Death> {
        let dead = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let mut deaths = Vec::new();
        loop {
            match waitid(Id::All, dead | WaitPidFlag::WNOWAIT) {
                Ok(status) => {
                    let Some(pid) = status.pid() else { return deaths };
                    let (was_own, was_ready) = self.bury(pid);
                    let death = Death { pid, status, was_ready };
                    if was_own && self.line.is_some() {
                        self.departed = Some(death);
                    } else {
                        self.died(&death, now);
                        deaths.extend(was_own.then_some(death));
                    }
                    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                }
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.supervisor.handle(Event::Childless, now);
                    return deaths;
                }
            }
        }
    }

    /// Clears the board of a child that died; whether this process had forked it for itself, and
    /// whether it was ready for its work.
    fn bury(&mut self, dead: Pid) -> (bool, bool) {
        let at = self.children.iter().position(|child| child.pid == dead);
        let child = match at {
            Some(at) => Some(self.children.swap_remove(at)),
            None => self.aside.take_if(|aside| aside.pid == dead),
        };
        let was_ready = child.as_ref().is_some_and(|child| child.row.is_ready());
        self.board.bury(dead.as_raw());
        if let Some(Child { row, .. }) = &child {
            // It may have died before it took its row.
            row.unclaim(self.parent.as_raw());
        }
        (child.is_some(), was_ready)
    }
}

/// Whether a process is a child of this one that is not reaped yet: then its pid is its own.
fn is_own_child(pid: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(pid), look).is_ok()
}
