use super::ClientAddress;
use crate::numbered::{Keyed, Numbered};

/// The different addresses that proxies told of subscribers, each kept once.
#[derive(Default)]
pub(crate) struct Addresses(Numbered<Address>);

struct Address {
    address: ClientAddress,
    subscribers: u32,
}

const _: () = assert!(size_of::<Option<Address>>() <= 28, "each subscriber behind a proxy may have one of its own");

impl Keyed for Address {
    type Key = ClientAddress;

    fn key(&self) -> &ClientAddress {
        &self.address
    }
}

impl Addresses {
    /// The number of an address, for one more subscriber.
    pub(crate) fn intern(&mut self, address: ClientAddress) -> u32 {
        let found = self.0.find(&address);
        let number = found.unwrap_or_else(|| self.0.insert(Address { address, subscribers: 0 }));
        self.0.at_mut(number).subscribers += 1;
        number
    }

    /// A subscriber that has the address has left.
    pub(crate) fn release(&mut self, number: u32) {
        let subscribers = &mut self.0.at_mut(number).subscribers;
        *subscribers -= 1;
        if *subscribers == 0 {
            self.0.remove(number);
        }
    }

    pub(crate) fn get(&self, number: u32) -> ClientAddress {
        self.0.at(number).address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_once_and_goes_with_the_last_who_has_it() {
        let address = |text: &str| text.parse().expect("an address");
        let mut addresses = Addresses::default();
        let one = addresses.intern(address("192.0.2.1"));
        assert_eq!(addresses.intern(address("192.0.2.1")), one);
        let other = addresses.intern(address("192.0.2.1:80"));
        assert_eq!(addresses.get(other), address("192.0.2.1:80"));
        addresses.release(one);
        assert_eq!((addresses.get(one), addresses.0.len()), (address("192.0.2.1"), 2));
        addresses.release(one);
        assert_eq!(addresses.0.len(), 1);
        assert_eq!(addresses.intern(ClientAddress::Unix), one, "its number is given out again");
    }
}
