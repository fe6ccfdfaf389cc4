//! Why a request is refused.

use super::status::Status;

/// Why a request cannot be understood. Each ends its connection: where the next request would
/// begin is not certain any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the status of its name")]
pub enum Reject {
    BadRequest,
    ContentTooLarge,
    UriTooLong,
    FieldsTooLarge,
    NotImplemented,
    VersionNotSupported,
}

impl Reject {
    /// The status that says so.
    pub const fn status(self) -> Status {
        match self {
            Self::BadRequest => Status::BadRequest,
            Self::ContentTooLarge => Status::ContentTooLarge,
            Self::UriTooLong => Status::UriTooLong,
            Self::FieldsTooLarge => Status::FieldsTooLarge,
            Self::NotImplemented => Status::NotImplemented,
            Self::VersionNotSupported => Status::VersionNotSupported,
        }
    }
}
