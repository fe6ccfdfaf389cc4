//! What is counted, and where each count is in a slot.

use std::time::Duration;

use super::control::Role;

/// What a process counts from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections that were accepted.
    Accepted,
    /// Responses of an older site that were aborted to make room for the next one.
    OldResponses,
    /// Connections that have ended.
    Ended(Ending),
    /// Answers that were sent whole.
    Answered,
    /// Answers that were cut short.
    Cut,
    /// Answers, whole or not, by the method that was asked for and the first digit of the status.
    Requests(Asked, Class),
    /// Answers that took as long as this of [`TOOK_MAX`], or longer than all of them.
    Took(usize),
    /// How long all answers took, in nanoseconds.
    TookInAll,
    /// Requests that were refused before they were understood.
    Rejected(Rejection),
    /// Bytes that were sent.
    Sent,
    /// Lines of the access log that were not written.
    LostLines,
    /// Files on disk that were not what they were when they were compiled.
    StaleFiles,
    /// Log events that were not written.
    LostEvents,
    /// Processes that died and were to go on.
    Died(Role, Cause),
}

/// The limits between durations that are told apart, each with its name in seconds.
pub const TOOK_MAX: [(Duration, f64); 12] = [
    (Duration::from_micros(100), 0.0001),
    (Duration::from_micros(500), 0.0005),
    (Duration::from_millis(1), 0.001),
    (Duration::from_millis(5), 0.005),
    (Duration::from_millis(10), 0.01),
    (Duration::from_millis(50), 0.05),
    (Duration::from_millis(100), 0.1),
    (Duration::from_millis(500), 0.5),
    (Duration::from_secs(1), 1.0),
    (Duration::from_secs(5), 5.0),
    (Duration::from_secs(30), 30.0),
    (Duration::from_secs(300), 300.0),
];

macro_rules! named {
    ($(#[$about:meta])* $kind:ident { $($(#[$doc:meta])* $name:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$doc])* $name,)+
        }

        impl $kind {
            /// All of them, in their order on the board.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name for whoever reads metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}
pub(super) use named;

named! {
    /// What was asked for.
    Asked {
        /// The method of that name.
        Get = "GET",
        /// The method of that name.
        Head = "HEAD",
        /// The method of that name.
        Options = "OPTIONS",
        /// Any other method, or what was not understood.
        Other = "other",
    }
}

named! {
    /// The first digit of a status.
    Class {
        /// 200 to 299.
        Success = "2xx",
        /// 300 to 399.
        Redirection = "3xx",
        /// 400 to 499.
        ClientError = "4xx",
        /// 500 to 599.
        ServerError = "5xx",
    }
}

impl Class {
    /// The class of a status.
    pub const fn of(status: u16) -> Self {
        match status {
            0..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

named! {
    /// Why a connection has ended.
    Ending {
        /// The client has closed it.
        Client = "client",
        /// After an answer that said so.
        Finished = "finished",
        /// Nothing came for too long.
        Idle = "idle",
        /// A request came, or an answer went, too slowly.
        Slow = "slow",
        /// It was idle, and another one needed its place.
        Room = "room",
        /// It broke, or had to be broken.
        Broken = "broken",
        /// tine ends.
        Drained = "drained",
        /// Its response was of an older site, and held memory that the next one needed.
        Old = "old-response",
        /// It could not be served: for want of memory, or because of what it began with.
        Refused = "refused",
    }
}

named! {
    /// Why a request was refused before it was understood: each is a status.
    Rejection {
        /// It is not to the letter.
        BadRequest = "400",
        /// It did not come to its end.
        Timeout = "408",
        /// Its body is too large.
        ContentTooLarge = "413",
        /// Its target is too long.
        UriTooLong = "414",
        /// Its head is too large.
        FieldsTooLarge = "431",
        /// It needs what tine does not have.
        NotImplemented = "501",
        /// It is of another version.
        VersionNotSupported = "505",
    }
}

named! {
    /// How a process has died.
    Cause {
        /// It ended by itself.
        Exit = "exit",
        /// A signal killed it.
        Signal = "signal",
        /// It gave no sign of life and was killed.
        Silence = "silence",
    }
}

const PLAIN: usize = 9;
const ENDED: usize = PLAIN;
const REQUESTS: usize = ENDED + Ending::ALL.len();
const TOOK: usize = REQUESTS + Asked::ALL.len() * Class::ALL.len();
const REJECTED: usize = TOOK + TOOK_MAX.len() + 1;
const DIED: usize = REJECTED + Rejection::ALL.len();

impl Counter {
    /// How many there are.
    pub(super) const COUNT: usize = DIED + Role::ALL.len() * Cause::ALL.len();

    /// Where it stands among them.
    pub const fn place(self) -> usize {
        match self {
            Self::Accepted => 0,
            Self::OldResponses => 1,
            Self::Answered => 2,
            Self::Cut => 3,
            Self::TookInAll => 4,
            Self::Sent => 5,
            Self::LostLines => 6,
            Self::StaleFiles => 7,
            Self::LostEvents => 8,
            Self::Ended(why) => ENDED + why as usize,
            Self::Requests(asked, class) => {
                REQUESTS + asked as usize * Class::ALL.len() + class as usize
            }
            Self::Took(bucket) => TOOK + bucket,
            Self::Rejected(why) => REJECTED + why as usize,
            Self::Died(role, cause) => DIED + role as usize * Cause::ALL.len() + cause as usize,
        }
    }

    /// The bucket of a duration.
    pub fn took(duration: Duration) -> Self {
        let bucket = TOOK_MAX.iter().position(|&(most, _)| duration <= most);
        Self::Took(bucket.unwrap_or(TOOK_MAX.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        let plain = [
            Counter::Accepted,
            Counter::OldResponses,
            Counter::Answered,
            Counter::Cut,
            Counter::TookInAll,
            Counter::Sent,
            Counter::LostLines,
            Counter::StaleFiles,
            Counter::LostEvents,
        ];
        let mut all = plain.to_vec();
        all.extend(Ending::ALL.iter().map(|&why| Counter::Ended(why)));
        for &asked in Asked::ALL {
            all.extend(Class::ALL.iter().map(|&class| Counter::Requests(asked, class)));
        }
        all.extend((0..=TOOK_MAX.len()).map(Counter::Took));
        all.extend(Rejection::ALL.iter().map(|&why| Counter::Rejected(why)));
        for &role in Role::ALL {
            all.extend(Cause::ALL.iter().map(|&cause| Counter::Died(role, cause)));
        }
        let mut places: Vec<_> = all.iter().map(|counter| counter.place()).collect();
        places.sort_unstable();
        assert_eq!(places, (0..Counter::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn a_duration_belongs_to_the_first_limit_that_it_does_not_exceed() {
        assert_eq!(Counter::took(Duration::ZERO), Counter::Took(0));
        assert_eq!(Counter::took(Duration::from_micros(100)), Counter::Took(0));
        assert_eq!(Counter::took(Duration::from_micros(101)), Counter::Took(1));
        assert_eq!(Counter::took(Duration::from_secs(301)), Counter::Took(TOOK_MAX.len()));
        for (most, seconds) in TOOK_MAX {
            assert!((most.as_secs_f64() - seconds).abs() < 1e-9);
        }
    }
}
