//! What the children of a publisher are born with. A child takes it out of its parent, and drops
//! the rest.

use crate::board::Row;
use crate::process::master::Office;
use crate::process::successor::Heir;
use crate::process::word::Speaker;
use crate::process::worker::Seat;
use crate::succession::Errand;

use super::Publisher;

/// What makes a child a successor.
pub(super) type Inheritance = (Row<'static>, Errand, Speaker);

/// What a child of a publisher is.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub(in crate::process) enum Birth<'c> {
    Worker(Seat),
    Successor(Heir<'c>),
}

impl<'c> Publisher<'c> {
    /// What a worker is born with.
    pub(super) fn into_seat(self, row: Row<'static>) -> Seat {
        let Office {
            listeners, handover, board, access_log, drain, leave, allowance, config, ..
        } = self.office;
        Seat {
            site: self.site,
            generation: self.generation,
            board,
            row,
            access_log,
            listeners,
            handover,
            trusted: config.trusted_proxies.clone(),
            has_preface: config.proxy_protocol,
            connections_max: allowance.connections_max,
            look: self.words.look,
            gone: self.words.gone,
            ready: self.words.say_ready,
            drain,
            leave,
            drain_timeout: config.drain_timeout,
        }
    }

    /// What a successor is born with.
    pub(super) fn into_heir(self, (row, errand, say_superseded): Inheritance) -> Heir<'c> {
        Heir {
            office: self.office,
            old: self.site,
            row,
            errand,
            leader: self.workers.parent(),
            has_said_lack: self.watches.lack().is_some(),
            say_superseded,
        }
    }
}
