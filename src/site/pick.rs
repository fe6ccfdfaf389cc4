//! A file in the form that one client gets.

use super::siblings::Coded;
use super::{Asset, Content, Site, media};
use crate::http::coding::{Coding, Wishes};
use crate::http::etag::ETag;

/// A file, and the sibling that is sent in its place, if one is.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'s> {
    asset: &'s Asset,
    coded: Option<(&'s Coded, &'s Asset)>,
}

impl Site {
    /// Picks the form that a client wants most of a file; nobody is asked where there is one only.
    pub fn pick<'s>(&'s self, asset: &'s Asset, wishes: impl FnOnce() -> Wishes) -> Pick<'s> {
        let Some(siblings) = &asset.coded else { return Pick::own(asset) };
        let coding = wishes().choose(siblings.iter().map(|sibling| sibling.coding));
        let chosen = siblings.iter().find(|sibling| Some(sibling.coding) == coding);
        Pick { asset, coded: chosen.map(|coded| (coded, &self.assets[coded.asset])) }
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

    fn sent(&self) -> &'s Asset {
        self.coded.map_or(self.asset, |(_, sibling)| sibling)
    }

    /// Where the bytes are that are sent.
    pub fn content(&self) -> &'s Content {
        &self.sent().content
    }

    /// The whole 200 head but its end, if the bytes are held.
    pub fn head(&self) -> Option<&'s [u8]> {
        match (self.coded, &self.asset.content) {
            (Some((coded, _)), _) => (!coded.head.is_empty()).then_some(&coded.head),
            (None, Content::Held(held)) => Some(held.head()),
            (None, Content::Large(_)) => None,
        }
    }

    /// As compiled, of the bytes that are sent.
    pub fn size(&self) -> u64 {
        self.sent().size()
    }

    /// Of the bytes that are sent: each form has its own (RFC 9110 §8.8.3.3).
    pub fn etag(&self) -> Option<ETag> {
        self.sent().etag()
    }

    /// As compiled, of the bytes that are sent, in seconds since 1970.
    pub fn modified(&self) -> Option<u64> {
        self.sent().modified
    }
}
