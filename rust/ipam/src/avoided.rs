//! What a pool passes over although it is free: addresses that somebody else has.

use crate::error::Error;
use crate::pool::{Pool, NO_LANE};
use crate::prefix::Address;
use crate::rules::Order;
use std::collections::BTreeSet;

impl Pool {
    /// From now on, give none of these addresses, neither automatically nor where it is asked for; what was avoided
    /// until now may be given again. They stay free and are no part of what is stored; one that is in use stays so. What
    /// is outside of the subnet does not matter.
    ///
    /// ```
    /// use macvfast_ipam::{Address, Pool, Rules, Subnet};
    /// let mut pool = Pool::new(Rules::new(Subnet::parse("192.168.32.0/24").unwrap())).unwrap();
    /// pool.avoid(&[Address::parse("192.168.32.1").unwrap()]).unwrap();
    /// assert_eq!(pool.allocate().unwrap().to_string(), "192.168.32.2");
    /// assert_eq!(pool.used(), 3); // .0, .2 and .255
    /// assert_eq!(pool.available(), 252); // 253 are free
    /// ```
    ///
    /// # Errors
    /// `Error::NeedsPage`; nothing was changed then.
    pub fn avoid(&mut self, addresses: &[Address]) -> Result<(), Error> {
        let ordinals = addresses.iter().filter_map(|one| self.subnet.ordinal(*one));
        let avoided: BTreeSet<u128> = ordinals.collect();
        let mut idle = BTreeSet::new();
        for ordinal in &avoided {
            if self.ranges.contains(*ordinal) && !self.bits.test(*ordinal)? {
                idle.insert(*ordinal);
            }
        }
        if self.order == Order::Lowest {
            self.cursor = self.cursor();
        }
        self.lanes = self.ranges.without(&avoided);
        self.lane = NO_LANE;
        self.avoided = avoided;
        self.idle = idle;
        Ok(())
    }
}
