//! The only unsafe code: each call that the libraries cannot make safe, with the fact it relies on.
#![allow(unsafe_code)]

pub(crate) mod arena;
pub(crate) mod descriptors;
pub(crate) mod door;
pub(crate) mod fork;
pub(crate) mod queue;
pub(crate) mod shared;
pub(crate) mod signals;
pub(crate) mod view;
pub(crate) mod wait;
