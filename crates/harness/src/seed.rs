use std::sync::Mutex;

/// The randomness of a test: printed, and taken from `TEST_SEED` where that is set.
#[derive(Debug)]
pub struct Seed {
    state: Mutex<u64>,
}

impl Seed {
    /// A seed for the test of this name.
    ///
    /// # Panics
    /// If the variable is not a number, or the machine has no randomness.
    #[must_use]
    pub fn new(test: &str) -> Seed {
        let seed = match std::env::var("TEST_SEED") {
            Ok(text) => text.parse().expect("TEST_SEED is a number"),
            Err(_) => getrandom::u64().expect("the machine has randomness"),
        };
        println!("{test}: TEST_SEED={seed}");
        Seed { state: Mutex::new(seed) }
    }

    /// A seed of its own for one of several threads, so that what each does is the same in every run.
    #[must_use]
    pub fn fork(&self) -> Seed {
        Seed { state: Mutex::new(self.next()) }
    }

    /// A number below `end`, which is not 0.
    ///
    /// # Panics
    /// If `end` is 0.
    #[must_use]
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    fn next(&self) -> u64 {
        let mut state = self.state.lock().expect("nobody panics with the seed in hand");
        // SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
