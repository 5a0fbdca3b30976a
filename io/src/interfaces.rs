//! Which addresses this host has beside one another: where a client reached one of them, it reaches the others of that interface.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// All addresses of the interface that has `ip`, that one included. Empty if this host has it not, or does not tell.
pub fn addresses_beside(ip: IpAddr) -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let all: Vec<(String, IpAddr)> = all
        .filter_map(|one| Some((one.interface_name, ip_of(&one.address?)?)))
        .collect();
    let interfaces: Vec<&str> = all
        .iter()
        .filter(|(_, known)| *known == ip)
        .map(|(interface, _)| interface.as_str())
        .collect();
    all.iter()
        .filter(|(interface, _)| interfaces.contains(&interface.as_str()))
        .map(|(_, address)| *address)
        .collect()
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address
        .as_sockaddr_in()
        .map(|four| IpAddr::from(four.ip().to_be_bytes()));
    four.or_else(|| Some(address.as_sockaddr_in6()?.ip().into()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn loopback_is_beside_itself() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);

        assert!(addresses_beside(loopback).contains(&loopback));
        assert!(addresses_beside(loopback).iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn an_address_that_is_not_ours_stands_alone() {
        let foreign = "192.0.2.1".parse().expect("an address");

        assert_eq!(addresses_beside(foreign), Vec::<IpAddr>::new());
    }
}
