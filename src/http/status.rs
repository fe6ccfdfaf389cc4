//! The status codes tine answers with, and the short page that goes with each error.

/// A status code with its reason phrase (RFC 9110 §15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's own")]
pub enum Status {
    Ok,
    Accepted,
    NoContent,
    PartialContent,
    MovedPermanently,
    NotModified,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    PreconditionFailed,
    ContentTooLarge,
    UriTooLong,
    RangeNotSatisfiable,
    ExpectationFailed,
    FieldsTooLarge,
    InternalServerError,
    NotImplemented,
    ServiceUnavailable,
    VersionNotSupported,
}

impl Status {
    /// The code and its reason phrase, as the status line spells them.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::Accepted => "202 Accepted",
            Self::NoContent => "204 No Content",
            Self::PartialContent => "206 Partial Content",
            Self::MovedPermanently => "301 Moved Permanently",
            Self::NotModified => "304 Not Modified",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::Conflict => "409 Conflict",
            Self::PreconditionFailed => "412 Precondition Failed",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::FieldsTooLarge => "431 Request Header Fields Too Large",
            Self::InternalServerError => "500 Internal Server Error",
            Self::NotImplemented => "501 Not Implemented",
            Self::ServiceUnavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// The body of an error that the site has no page of its own for.
    pub const fn page(self) -> &'static str {
        match self {
            Self::Ok
            | Self::Accepted
            | Self::NoContent
            | Self::PartialContent
            | Self::MovedPermanently
            | Self::NotModified => "",
            Self::NotFound => "<h1>sorry,file not found</h1>",
            Self::BadRequest => "<h1>400 Bad Request</h1>",
            Self::Forbidden => "<h1>403 Forbidden</h1>",
            Self::MethodNotAllowed => "<h1>405 Method Not Allowed</h1>",
            Self::RequestTimeout => "<h1>408 Request Timeout</h1>",
            Self::Conflict => "<h1>409 Conflict</h1>",
            Self::PreconditionFailed => "<h1>412 Precondition Failed</h1>",
            Self::ContentTooLarge => "<h1>413 Content Too Large</h1>",
            Self::UriTooLong => "<h1>414 URI Too Long</h1>",
            Self::RangeNotSatisfiable => "<h1>416 Range Not Satisfiable</h1>",
            Self::ExpectationFailed => "<h1>417 Expectation Failed</h1>",
            Self::FieldsTooLarge => "<h1>431 Request Header Fields Too Large</h1>",
            Self::InternalServerError => "<h1>500 Internal Server Error</h1>",
            Self::NotImplemented => "<h1>501 Not Implemented</h1>",
            Self::ServiceUnavailable => "<h1>503 Service Unavailable</h1>",
            Self::VersionNotSupported => "<h1>505 HTTP Version Not Supported</h1>",
        }
    }
}
