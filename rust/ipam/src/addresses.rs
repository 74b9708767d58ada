//! Many addresses taken at once.

use crate::prefix::{Address, Family, Subnet};

/// Addresses in the order in which they were given, kept as words of bits: 64 neighbours cost 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    subnet: Subnet,
    /// The ordinal where a word begins, and the bits taken in it.
    pieces: Vec<(u128, u64)>,
    len: usize,
}

impl Addresses {
    pub(crate) fn new(subnet: Subnet, pieces: Vec<(u128, u64)>) -> Self {
        let len = pieces
            .iter()
            .map(|(_, mask)| mask.count_ones() as usize)
            .sum();
        Self {
            subnet,
            pieces,
            len,
        }
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        self.pieces.iter().flat_map(move |(first, mask)| {
            bits(*mask).map(move |bit| self.subnet.address(first + u128::from(bit)))
        })
    }

    /// Write them in network byte order, 4 or 16 bytes each, as far as the buffer has room.
    pub fn pack(&self, buffer: &mut [u8]) {
        let values = self.iter().map(Address::value);
        match self.subnet.family() {
            Family::V4 => fill(buffer, values.map(|value| (value as u32).to_be_bytes())),
            Family::V6 => fill(buffer, values.map(u128::to_be_bytes)),
        }
    }
}

fn fill<const N: usize>(buffer: &mut [u8], values: impl Iterator<Item = [u8; N]>) {
    let places = buffer.chunks_exact_mut(N).zip(values);
    places.for_each(|(place, value)| place.copy_from_slice(&value));
}

/// Positions of the bits set, the lowest first.
fn bits(mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        (mask != 0).then(|| {
            mask &= mask - 1;
            bit
        })
    })
}
