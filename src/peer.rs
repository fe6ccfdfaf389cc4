//! Who a client is: the other end of a connection, or whom a proxy that is trusted there names.

mod cidr;
mod forwarded;
pub mod preface;

use std::net::IpAddr;

use crate::http::request::Request;

pub use cidr::Cidr;

/// The networks whose word is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<Cidr>);

impl Trusted {
    /// Adds a network.
    pub fn add(&mut self, network: Cidr) {
        self.0.push(network);
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether whoever has that address is believed.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// Who has sent a request that came from `peer`: the last one whom a proxy names that is not a
    /// trusted proxy itself. `Forwarded` (RFC 7239) and `X-Forwarded-For` are read from the right,
    /// since what stands on the left anybody can have written. If they disagree, neither is
    /// believed: a proxy that sets one of them lets the other pass as the client sent it.
    pub fn client_of(&self, request: &Request<'_, '_>, peer: IpAddr) -> IpAddr {
        if !self.has(peer) {
            return peer;
        }
        let fields = &request.fields;
        let standard = fields.all("forwarded").rev().flat_map(forwarded::standard_hops);
        let customary = fields.all("x-forwarded-for").rev().flat_map(forwarded::customary_hops);
        let is_there = |name: &str| fields.first(name).is_some();
        match (is_there("forwarded"), is_there("x-forwarded-for")) {
            (true, true) => {
                let client = self.past_proxies(standard, peer);
                if client == self.past_proxies(customary, peer) { client } else { peer }
            }
            (true, false) => self.past_proxies(standard, peer),
            (false, _) => self.past_proxies(customary, peer),
        }
    }

    /// The first of these hops, the nearest first, that is no trusted proxy; one that is no address
    /// ends the way.
    fn past_proxies(&self, hops: impl Iterator<Item = Option<IpAddr>>, peer: IpAddr) -> IpAddr {
        let mut nearest = peer;
        for hop in hops {
            let Some(address) = hop else { return nearest };
            nearest = address;
            if !self.has(address) {
                return nearest;
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Slots;
    use crate::http::limits::Limits;

    fn client(lines: &[&str]) -> String {
        let mut trusted = Trusted::default();
        for network in ["10.0.0.0/8", "fd00::/8"] {
            trusted.add(Cidr::parse(network).unwrap());
        }
        let head = ["GET / HTTP/1.1\r\nHost: x", &lines.join("\r\n"), "\r\n"].join("\r\n");
        let head = head.replace("\r\n\r\n\r\n", "\r\n\r\n");
        let mut slots = Slots::new();
        let parsed = Request::parse(head.as_bytes(), &mut slots, &Limits::default());
        let (request, _) = parsed.unwrap().unwrap();
        trusted.client_of(&request, "10.0.0.1".parse().unwrap()).to_string()
    }

    #[test]
    fn hops_are_read_from_the_right_past_those_that_are_trusted() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
            (&["X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.9"], "1.2.3.4"),
            (&["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4 ,10.2.0.9"], "1.2.3.4"),
            (&["X-Forwarded-For: 10.0.0.7, 10.0.0.8"], "10.0.0.7"),
            (&["X-Forwarded-For: 1.2.3.4, nobody, 10.0.0.9"], "10.0.0.9"),
            (&["X-Forwarded-For: nobody"], "10.0.0.1"),
            (&["X-Forwarded-For: 1.2.3.4:5678"], "1.2.3.4"),
            (&["X-Forwarded-For: [2001:db8::1]:5678"], "2001:db8::1"),
            (&["X-Forwarded-For: 2001:db8::1, fd00::1"], "2001:db8::1"),
            (&["X-Forwarded-For: ::ffff:10.0.0.2, ::ffff:1.2.3.4"], "1.2.3.4"),
            (&["Forwarded: for=1.2.3.4;proto=https"], "1.2.3.4"),
            (&["Forwarded: for=6.6.6.6, For=\"[2001:db8::1]:4711\", for=10.9.9.9"], "2001:db8::1"),
            (&["Forwarded: by=\"a,for=6.6.6.6\";for=1.2.3.4"], "1.2.3.4"),
            (&["Forwarded: for=\"1.2.3.4:_port\", for=\"[fd00::1]\""], "1.2.3.4"),
            (&["Forwarded: for=\"1.2.3\\.4:80\""], "1.2.3.4"),
            (&["Forwarded: for=\"1.2.3.4:\""], "10.0.0.1"),
            (&["Forwarded: for=\"[1.2.3.4]:80\""], "10.0.0.1"),
            (&["Forwarded: for=\"2001:db8::1:_x\""], "10.0.0.1"),
            (&["Forwarded: for=1.2.3.4, for=_hidden"], "10.0.0.1"),
            (&["Forwarded: for=unknown"], "10.0.0.1"),
            (&["Forwarded: proto=https"], "10.0.0.1"),
            (&["Forwarded: for=6.6.6.6;x=\", for=1.2.3.4"], "10.0.0.1"),
            (&["Forwarded: for=6.6.6.6;for=1.2.3.4"], "10.0.0.1"),
            (&["Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
            (&["Forwarded: for=6.6.6.6", "X-Forwarded-For: 1.2.3.4"], "10.0.0.1"),
        ] {
            assert_eq!(client(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn nobody_is_believed_unasked() {
        let mut slots = Slots::new();
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
        let parsed = Request::parse(head, &mut slots, &Limits::default());
        let (request, _) = parsed.unwrap().unwrap();
        let peer = "192.0.2.1".parse().unwrap();
        assert_eq!(Trusted::default().client_of(&request, peer), peer);
    }
}
