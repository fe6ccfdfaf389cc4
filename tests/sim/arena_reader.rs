//! A reader of the arena, step by step, as the worker's loop takes these steps.

use std::hash::{Hash, Hasher};

use tine::control::publication::Reader;

use crate::arena::{FIRST_SLOT, Move, Mutant, Named, Outcome, PINS, World, pin_of};

/// How far a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Offline,
    /// A published word was loaded, and is to be announced.
    Loaded(u64),
    Announced(u64),
    /// It is still published.
    Checked(u64),
    /// It was decided, and the generation is to be announced: a mutant.
    DecidedTooEarly(u64),
    /// Bodies of the adopted image can be read.
    Online,
    Dead,
}

/// A response that is not sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Response {
    body: Named,
    generation: u64,
    is_pinned: bool,
}

#[derive(Clone)]
pub struct Worker {
    reader: Reader<'static>,
    is_online: bool,
    adopted: u64,
    pub step: Step,
    responses: [Option<Response>; PINS],
    /// The words of its pins.
    pub pins: [u64; PINS],
    /// No decision that is being made may be from an older generation.
    floor: u64,
    pub requests: u8,
    pub kills: u8,
}

impl Hash for Worker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.is_online, self.adopted, self.step, self.responses, self.pins).hash(state);
        (self.floor, self.requests, self.kills).hash(state);
    }
}

impl Worker {
    pub fn new(reader: Reader<'static>, requests: u8) -> Self {
        Self {
            reader,
            is_online: false,
            adopted: 0,
            step: Step::Offline,
            responses: [None; PINS],
            pins: [0; PINS],
            floor: 0,
            requests,
            kills: 1,
        }
    }

    /// Adds what it may do next.
    pub fn moves(&self, number: usize, world: &World, moves: &mut Vec<Move>) {
        let mutant = world.mutant;
        let decisions = (0..world.requested).map(|file| Move::Decide(number, file));
        let all_pinned = self.responses.iter().flatten().all(|response| response.is_pinned);
        let has_place = self.responses.iter().any(Option::is_none);
        match self.step {
            Step::Dead => return moves.push(Move::Restart(number)),
            Step::Offline | Step::Online => {
                for entry in (0..PINS).filter(|&entry| self.responses[entry].is_some()) {
                    moves.push(Move::Finish(number, entry));
                }
                if !all_pinned {
                    moves.push(Move::Pin(number));
                } else if self.requests > 0 && has_place {
                    moves.push(Move::Load(number));
                }
                if all_pinned && self.step == Step::Online {
                    moves.push(Move::GoOffline(number));
                }
            }
            Step::Loaded(_) if mutant == Some(Mutant::GenerationAfterLoad) => {
                moves.extend(decisions);
            }
            Step::Announced(_) if mutant == Some(Mutant::NoSecondLoad) => {
                moves.extend(decisions);
            }
            Step::Loaded(_) | Step::DecidedTooEarly(_) => moves.push(Move::Announce(number)),
            Step::Announced(_) => moves.push(Move::LoadAgain(number)),
            Step::Checked(_) => moves.extend(decisions),
        }
        // A reader that holds nothing is the same after a restart.
        if self.kills > 0 && (self.step != Step::Offline || self.pins != [0; PINS]) {
            moves.push(Move::Kill(number));
        }
    }

    pub fn make(&mut self, next: Move, world: &mut World) -> Outcome {
        let page = world.board().compiler();
        match (next, self.step) {
            (Move::Load(_), _) => {
                self.floor = world.completed;
                let published = page.published();
                let is_adopted = self.is_online && published == self.adopted;
                self.step =
                    if is_adopted { Step::Checked(published) } else { Step::Loaded(published) };
            }
            (Move::Announce(_), Step::Loaded(published)) => {
                self.reader.announce(published);
                self.step = Step::Announced(published);
            }
            (Move::Announce(_), Step::DecidedTooEarly(published)) => {
                self.reader.announce(published);
                self.step = Step::Online;
            }
            (Move::LoadAgain(_), Step::Announced(published)) => {
                let again = page.published();
                let is_same = again == published;
                self.step = if is_same { Step::Checked(again) } else { Step::Loaded(again) };
            }
            (
                Move::Decide(_, file),
                Step::Checked(published) | Step::Loaded(published) | Step::Announced(published),
            ) => return self.decide(file, published, world),
            (Move::Pin(_), _) => self.pin(),
            (Move::GoOffline(_), _) => {
                self.reader.go_offline();
                self.is_online = false;
                self.step = Step::Offline;
            }
            (Move::Finish(_, entry), _) => return self.finish(entry, world),
            (Move::Kill(_), _) => {
                self.kills -= 1;
                self.step = Step::Dead;
            }
            (Move::Restart(number), _) => {
                // The master clears the slot once the process is reaped.
                world.board().own_slot(FIRST_SLOT + number).release();
                let kills = self.kills;
                self.reader.go_offline();
                *self = Self { kills, ..Self::new(self.reader.clone(), self.requests) };
            }
            other => unreachable!("{other:?}"),
        }
        Ok(())
    }

    /// Decides a request by the adopted index.
    fn decide(&mut self, file: usize, published: u64, world: &World) -> Outcome {
        let is_early = matches!(self.step, Step::Loaded(_));
        self.step = if is_early { Step::DecidedTooEarly(published) } else { Step::Online };
        self.reader.confirm(published);
        (self.adopted, self.is_online) = (published, true);
        self.requests -= 1;
        if self.adopted == 0 {
            // The placeholder answers 503.
            return Ok(());
        }
        let image = world.read_index(self.adopted)?;
        if image.generation < self.floor {
            return Err("an older generation was answered from");
        }
        assert_eq!(self.reader.generation(), image.generation);
        let (body, generation) = (image.files[file], image.generation);
        let entry = self.responses.iter().position(Option::is_none).expect("a place is free");
        self.responses[entry] = Some(Response { body, generation, is_pinned: false });
        world.read(&body)
    }

    /// Pins all that is not sent yet.
    fn pin(&mut self) {
        for (entry, response) in self.responses.iter_mut().enumerate() {
            if let Some(response) = response {
                self.reader.pin(entry, Some(response.body.extent));
                response.is_pinned = true;
                self.pins[entry] = pin_of(&response.body);
            }
        }
    }

    /// Sends what is left of a response.
    fn finish(&mut self, entry: usize, world: &mut World) -> Outcome {
        let response = self.responses[entry].take().expect("a response is there");
        let outcome = world.read(&response.body);
        self.reader.pin(entry, None);
        self.pins[entry] = 0;
        world.completed = world.completed.max(response.generation);
        outcome
    }
}
