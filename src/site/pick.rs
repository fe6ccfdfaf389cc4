//! A file in the form that one client gets.

use super::coded::{Coded, From};
use super::{Asset, Content, Facts, Site, media};
use crate::http::coding::{Coding, Wishes};
use crate::http::etag::ETag;
use crate::http::precondition::Validators;

/// A file, and the form of it that is sent in its place, if one is.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'s> {
    asset: &'s Asset,
    coded: Option<(&'s Coded, Sent<'s>)>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
struct Sent<'s> {
    content: &'s Content,
    modified: Option<u64>,
    facts: &'s Facts,
}

impl Site {
    /// Picks the form that a client wants most of a file; nobody is asked where there is one only.
    pub fn pick<'s>(&'s self, asset: &'s Asset, wishes: impl FnOnce() -> Wishes) -> Pick<'s> {
        let Some(forms) = &asset.coded else { return Pick::own(asset) };
        let coding = wishes().choose(forms.iter().map(|form| form.coding));
        let chosen = forms.iter().find(|form| Some(form.coding) == coding);
        let sent = |coded: &'s Coded| match &coded.from {
            From::Sibling { asset, .. } => Sent::of(&self.assets[*asset]),
            From::Twin(twin) => {
                Sent { content: &twin.content, modified: twin.modified, facts: &asset.facts }
            }
        };
        Pick { asset, coded: chosen.map(|coded| (coded, sent(coded))) }
    }
}

impl<'s> Sent<'s> {
    fn of(asset: &'s Asset) -> Self {
        Self { content: &asset.content, modified: asset.modified(), facts: &asset.facts }
    }
}

impl<'s> Pick<'s> {
    /// A file in its own form.
    pub fn own(asset: &'s Asset) -> Self {
        Self { asset, coded: None }
    }

    /// What the client gets to see in the end, with its parameter.
    pub fn media_type(&self) -> [&'static str; 2] {
        let media_type = self.asset.media_type;
        [media_type, media::parameter(media_type)]
    }

    /// The coding in which it travels.
    pub fn coding(&self) -> Option<Coding> {
        self.coded.map(|(coded, _)| coded.coding)
    }

    /// Whether other clients get other forms (RFC 9110 §12.5.5).
    pub fn varies(&self) -> bool {
        self.asset.coded.is_some()
    }

    fn sent(&self) -> Sent<'s> {
        self.coded.map_or_else(|| Sent::of(self.asset), |(_, sent)| sent)
    }

    /// Where the bytes are that are sent.
    pub fn content(&self) -> &'s Content {
        self.coded.map_or(&self.asset.content, |(_, sent)| sent.content)
    }

    /// The whole 200 head but its end, if the bytes are held.
    pub fn head(&self) -> Option<&'s [u8]> {
        match (self.coded.map(|(coded, _)| &coded.from), self.content()) {
            (Some(From::Sibling { head, .. }), _) => (!head.is_empty()).then_some(head),
            (_, Content::Held(held)) => Some(held.head()),
            (None | Some(From::Twin(_)), Content::Large(_)) => None,
        }
    }

    /// What can be compared about the bytes that are sent, as compiled; each form has its own
    /// (RFC 9110 §8.8.3.3). What a file that is not held was last modified has to be asked.
    pub fn validators(&self) -> Validators {
        Validators { etag: self.etag(), modified: self.sent().modified }
    }

    /// The same of a file that is not held, by what it is now: once it has changed, the tag of what
    /// was compiled is not its own.
    pub fn validators_of(&self, now: &Facts, second: u64) -> Validators {
        let etag = self.etag().filter(|_| self.is_of(now));
        Validators { etag, modified: now.last_modified(second) }
    }

    /// Whether the file that is sent is still the compiled one.
    pub fn is_of(&self, now: &Facts) -> bool {
        now.is_same_state(self.sent().facts)
    }

    /// The tag of the bytes that are sent, as compiled, if one is known.
    pub fn etag(&self) -> Option<ETag> {
        match self.content() {
            Content::Held(held) => held.etag(),
            Content::Large(large) => large.etag,
        }
    }
}
