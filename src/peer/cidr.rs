//! Networks, as addresses with a length (RFC 4632 §3.1, RFC 4291 §2.3).

use std::net::IpAddr;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    /// How many bits are the network's.
    bits: u32,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address alone; none if it is neither, or has bits
    /// beyond its length.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let network = Self { address, bits: bits.unwrap_or(most) };
        let has_host_bits = network.bits < most && head(address, network.bits) != word(address);
        (network.bits <= most && !has_host_bits).then_some(network)
    }

    /// Whether an address is in the network; an IPv4 address in the clothes of IPv6 is one of IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && head(address, self.bits) == head(self.address, self.bits)
    }
}

/// The address as a number, at the upper end of 128 bits.
fn word(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn head(address: IpAddr, bits: u32) -> u128 {
    let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
    word(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("10.1.2.0/23", "::ffff:10.1.3.9", "10.1.4.0"),
        ] {
            let network = Cidr::parse(network).unwrap();
            assert!(network.has(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.has(outside.parse().unwrap()), "{network:?} {outside}");
        }
        for wrong in ["", "10", "10.0.0.0/33", "10.0.0.1/8", "::/129", "a/8", "10.0.0.0/", "::1/64"]
        {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }
}
