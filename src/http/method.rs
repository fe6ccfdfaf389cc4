//! Methods.

/// A method, as far as tine tells methods apart (RFC 9110 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's own")]
pub enum Method {
    Get,
    Head,
    Options,
    Connect,
    /// Never allowed on the port that serves.
    Post,
    /// PUT, DELETE, PATCH and TRACE: known, and never allowed here.
    NotAllowed,
    /// Any other token.
    Unknown,
}

impl Method {
    /// The method of that name; names compare with case.
    pub fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            b"POST" => Self::Post,
            b"PUT" | b"DELETE" | b"PATCH" | b"TRACE" => Self::NotAllowed,
            _ => Self::Unknown,
        }
    }
}
