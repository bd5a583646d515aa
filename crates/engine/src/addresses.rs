//! How many streams each address has, over all shards.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use tidewire_core::ClientAddress;

/// In so many parts the addresses are kept, so that shards seldom wait for each other, and never for all of a large
/// table to grow.
const PARTS: usize = 64;

/// A part that had room for more keeps it no longer once it is nearly empty.
const KEPT_MAX: usize = 1_024;

/// Whoever counts as one address: one of IPv4, or a /64 of IPv6, which is what a household or a machine is given and in
/// which it takes any address that it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(NonZeroU64);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Network {
        let bits = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            // No network of IPv6 that anyone is given begins with 32 zeros, so that none is one of the above.
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        Network(NonZeroU64::MIN.saturating_add(bits))
    }
}

/// As whose a client's streams are counted. None for one that has no address.
pub(crate) fn network(client: ClientAddress) -> Option<Network> {
    client.ip().map(Network::of)
}

/// How many places among `max_streams` each address has. One that has none is not kept.
pub(crate) struct Addresses {
    max: usize,
    hasher: RandomState,
    parts: [Mutex<HashMap<Network, usize>>; PARTS],
}

impl Addresses {
    pub(crate) fn new(max: usize) -> Addresses {
        Addresses { max, hasher: RandomState::new(), parts: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Gives an address one more place, unless it has as many as it may.
    pub(crate) fn take(&self, network: Network) -> bool {
        self.with_part(network, |part| {
            let places = part.get(&network).copied().unwrap_or_default();
            let is_free = places < self.max;
            if is_free {
                part.insert(network, places + 1);
            }
            is_free
        })
    }

    /// Takes back one of an address's places.
    pub(crate) fn give_back(&self, network: Network) {
        self.with_part(network, |part| {
            if let Some(places) = part.get_mut(&network) {
                *places -= 1;
                if *places == 0 {
                    part.remove(&network);
                }
            }
            if part.capacity() > KEPT_MAX && part.len() < part.capacity() / 8 {
                part.shrink_to(2 * part.len());
            }
        });
    }

    fn with_part<T>(&self, network: Network, change: impl FnOnce(&mut HashMap<Network, usize>) -> T) -> T {
        let part = self.hasher.hash_one(network) as usize % PARTS;
        // Whoever panicked with it left a count as it was, or as it should be.
        change(&mut self.parts[part].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Of which address each stream of a shard is, by its slot. Empty where addresses are not counted.
#[derive(Default)]
pub(crate) struct Networks(Vec<Option<Network>>);

const _: () = assert!(size_of::<Option<Network>>() == 8, "there may be a million");

impl Networks {
    pub(crate) fn note(&mut self, slot: usize, network: Network) {
        if slot >= self.0.len() {
            self.0.resize(slot + 1, None);
        }
        self.0[slot] = Some(network);
    }

    pub(crate) fn take(&mut self, slot: usize) -> Option<Network> {
        self.0.get_mut(slot)?.take()
    }

    /// Those of all streams.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Network> + '_ {
        self.0.drain(..).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().expect("an address"))
    }

    fn places(addresses: &Addresses) -> usize {
        addresses.parts.iter().map(|part| part.lock().expect("nobody panics with it").values().sum::<usize>()).sum()
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_an_ipv4_address_is_the_same_in_both_forms() {
        assert_eq!(network("2001:db8:1:2::3"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:2::3"), network("2001:db8:1:3::3"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
        assert_ne!(network("::1"), network("127.0.0.1"));
    }

    #[test]
    fn an_address_has_so_many_places_and_none_is_kept_of_one_that_has_left() {
        let addresses = Addresses::new(2);
        let (one, other) = (network("192.0.2.1"), network("2001:db8::1"));
        assert!(addresses.take(one) && addresses.take(one) && !addresses.take(one));
        assert!(addresses.take(other));
        addresses.give_back(one);
        assert!(addresses.take(one) && !addresses.take(one));
        for network in [one, one, other] {
            addresses.give_back(network);
        }
        assert!(addresses.parts.iter().all(|part| part.lock().expect("nobody panics with it").is_empty()));
    }

    #[test]
    fn of_those_who_come_at_once_exactly_so_many_are_given_a_place() {
        const THREADS: usize = 4;
        const TRIES: usize = 10_000;
        let addresses = Addresses::new(THREADS * TRIES / 2 + 1);
        let given = std::thread::scope(|scope| {
            let come = || (0..TRIES).filter(|_| addresses.take(network("192.0.2.1"))).count();
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(come)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it counts")).sum::<usize>()
        });
        assert_eq!((given, places(&addresses)), (addresses.max, addresses.max));
    }

    #[test]
    fn memory_is_given_back_after_a_storm() {
        let addresses = Addresses::new(1);
        let all = || (0..200_000).map(|bits| Network::of(std::net::Ipv4Addr::from_bits(bits).into()));
        assert!(all().all(|network| addresses.take(network)));
        all().for_each(|network| addresses.give_back(network));
        let room: usize = addresses.parts.iter().map(|part| part.lock().expect("nobody panics").capacity()).sum();
        assert!(room <= PARTS * KEPT_MAX, "room for {room}");
    }

    #[test]
    fn a_slot_that_is_used_again_has_its_own_address() {
        let mut networks = Networks::default();
        networks.note(3, network("192.0.2.1"));
        assert_eq!((networks.take(0), networks.take(9)), (None, None));
        assert_eq!((networks.take(3), networks.take(3)), (Some(network("192.0.2.1")), None));
        networks.note(3, network("192.0.2.2"));
        networks.note(5, network("192.0.2.3"));
        assert_eq!(networks.drain().collect::<Vec<_>>(), [network("192.0.2.2"), network("192.0.2.3")]);
        assert_eq!(networks.drain().count(), 0);
    }
}
