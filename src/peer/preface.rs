//! What a proxy says of a connection before its first byte: the PROXY protocol, versions 1 and 2
//! (HAProxy's proxy-protocol.txt §2.1, §2.2). Pure, over the bytes that have come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest preface of version 1, with its line end (§2.1).
const LINE_MAX: usize = 107;
/// Longest preface of version 2 that is taken, in bytes; addresses have 36, the rest is what the
/// proxy has to say beside them, and is passed over.
const BLOCK_MAX: usize = 2048;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;

/// A preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preface {
    /// Who is connected to the proxy; none if it speaks for itself (LOCAL), or does not know.
    pub client: Option<IpAddr>,
    /// The preface's length in bytes.
    pub len: usize,
}

/// What begins a connection is no preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPreface;

impl Preface {
    /// Reads a preface from the start of `bytes`; `Ok(None)` if its end is not there yet, which is
    /// never said of more than 2 KiB.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, NoPreface> {
        let is_start_of = |whole: &[u8]| {
            let len = bytes.len().min(whole.len());
            bytes[..len] == whole[..len]
        };
        if is_start_of(SIGNATURE) {
            Self::block(bytes)
        } else if is_start_of(b"PROXY ") {
            Self::line(bytes)
        } else {
            Err(NoPreface)
        }
    }

    fn line(bytes: &[u8]) -> Result<Option<Self>, NoPreface> {
        let within = &bytes[..bytes.len().min(LINE_MAX)];
        let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
            return if bytes.len() < LINE_MAX { Ok(None) } else { Err(NoPreface) };
        };
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| NoPreface)?;
        let words: Vec<&str> = line.split(' ').collect();
        let client = match words[..] {
            [_, "UNKNOWN", ..] => None,
            [_, family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
                let address = |text: &str| match family {
                    "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| NoPreface),
                    _ => text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| NoPreface),
                };
                let is_port = |text: &str| {
                    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
                    let is_shortest = text == "0" || !text.starts_with('0');
                    is_number && is_shortest && text.parse::<u16>().is_ok()
                };
                address(destination)?;
                if !is_port(from) || !is_port(to) {
                    return Err(NoPreface);
                }
                Some(address(source)?.to_canonical())
            }
            _ => return Err(NoPreface),
        };
        Ok(Some(Self { client, len: end + 2 }))
    }

    fn block(bytes: &[u8]) -> Result<Option<Self>, NoPreface> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
        let &[.., command, family, high, low] = fixed;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > BLOCK_MAX - FIXED || command >> 4 != 2 {
            return Err(NoPreface);
        }
        let Some(block) = rest.get(..len) else { return Ok(None) };
        // Who speaks for itself may say anything of addresses; no other value is assigned.
        let client = match (command & 0xf, family >> 4, family & 0xf) {
            (0, ..) => None,
            (1, 0..=3, 0) | (1, 0 | 3, 1 | 2) => None,
            (1, 1, 1 | 2) => {
                let octets = block.get(..12).and_then(<[u8]>::first_chunk::<4>);
                Some(Ipv4Addr::from(*octets.ok_or(NoPreface)?).into())
            }
            (1, 2, 1 | 2) => {
                let octets = block.get(..36).and_then(<[u8]>::first_chunk::<16>);
                Some(IpAddr::from(Ipv6Addr::from(*octets.ok_or(NoPreface)?)).to_canonical())
            }
            _ => return Err(NoPreface),
        };
        Ok(Some(Self { client, len: FIXED + len }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let len = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, block].concat()
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [1, 2, 3, 4, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let with_more = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
        vec![
            (b"PROXY TCP4 1.2.3.4 10.0.0.1 4660 80\r\n".to_vec(), Some("1.2.3.4")),
            (b"PROXY TCP6 2001:db8:: ::1 4660 80\r\n".to_vec(), Some("2001:db8::")),
            (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 4660 80\r\n".to_vec(), Some("1.2.3.4")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN what ever 1 2\r\n".to_vec(), None),
            (block(0x21, 0x11, &v4), Some("1.2.3.4")),
            (block(0x21, 0x11, &with_more), Some("1.2.3.4")),
            (block(0x21, 0x21, &v6), Some("2001:db8::")),
            (block(0x20, 0x00, &[]), None),
            (block(0x20, 0x11, &v4), None),
            (block(0x20, 0xff, &[]), None),
            (block(0x21, 0x00, &[]), None),
            (block(0x21, 0x10, &v4), None),
            (block(0x21, 0x12, &v4), Some("1.2.3.4")),
            (block(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn a_preface_is_read_however_it_comes_and_what_is_behind_it_is_left() {
        for (preface, client) in good() {
            for end in 0..preface.len() {
                assert_eq!(Preface::parse(&preface[..end]), Ok(None), "{end} of {preface:?}");
            }
            let expected = Preface {
                client: client.map(|client| client.parse().unwrap()),
                len: preface.len(),
            };
            let with_more = [&preface[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(Preface::parse(&with_more), Ok(Some(expected)));
        }
    }

    #[test]
    fn what_is_no_preface_is_refused() {
        for wrong in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 1.2.3.4 10.0.0.1 4660\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 4660 80 1\r\n",
            b"PROXY TCP4 ::1 ::1 4660 80\r\n",
            b"PROXY TCP4  1.2.3.4 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 99999 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 +4660 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 4660 080\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 4660 \r\n",
            b"PROXY UDP4 1.2.3.4 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 4660 80\n",
            &[b'P'; 3],
            &block(0x22, 0x11, &[0; 12]),
            &block(0x11, 0x11, &[0; 12]),
            &block(0x21, 0x13, &[0; 12]),
            &block(0x21, 0x41, &[0; 36]),
            &block(0x21, 0x11, &[0; 11]),
            &block(0x21, 0x21, &[0; 35]),
            &block(0x21, 0x11, &[0; BLOCK_MAX - FIXED + 1]),
        ] {
            let mut bytes = wrong.to_vec();
            bytes.extend_from_slice(&[b'x'; LINE_MAX]);
            assert_eq!(Preface::parse(&bytes), Err(NoPreface), "{}", wrong.escape_ascii());
        }
    }
}
