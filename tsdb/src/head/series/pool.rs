//! Memory of small things of one size: slabs of them, and a list of the free ones.
//!
//! A page has a pool for the bytes of its open chunks and one for the list of its full ones. What
//! is taken from a slab is given back to it when a chunk ends, so memory neither moves nor falls
//! apart, however the chunks of a page grow and end.

use ferula_chunkenc::ByteSink;

/// Bytes of a chunk that one cell holds. With the number of the next cell these are half of a
/// cache line: less is lost in the last cell of each chunk than to the links of all.
const CELL_BYTES: usize = 30;

/// Things per slab, the first two excepted, which have a quarter and three quarters of that: a page
/// with few series needs few.
const SLAB_LEN: usize = 32;

/// Things of the first slab.
const FIRST_LEN: usize = SLAB_LEN / 4;

/// The number of nothing.
pub(super) const NONE: u32 = u32::MAX;

/// Something that knows the number of the next one in its list.
pub(super) trait Linked: Copy + Default {
    fn next(&self) -> u32;
    fn set_next(&mut self, next: u32);
}

/// Things of one size by number.
#[derive(Debug)]
pub(super) struct Pool<T> {
    slabs: Vec<Box<[T]>>,
    /// The first free one.
    free: u32,
    n_used: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { slabs: Vec::new(), free: NONE, n_used: 0 }
    }
}

/// Which slab a thing lies in, and where in it.
#[inline]
fn place_of(number: u32) -> (usize, usize) {
    let number = number as usize;
    if number >= SLAB_LEN {
        return (number / SLAB_LEN + 1, number % SLAB_LEN);
    }
    if number < FIRST_LEN { (0, number) } else { (1, number - FIRST_LEN) }
}

impl<T: Linked> Pool<T> {
    #[inline]
    pub(super) fn get(&self, number: u32) -> &T {
        let (slab, offset) = place_of(number);
        &self.slabs[slab][offset]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut T {
        let (slab, offset) = place_of(number);
        &mut self.slabs[slab][offset]
    }

    /// Takes one, which has no next one.
    pub(super) fn take(&mut self) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let taken = self.free;
        let item = self.get_mut(taken);
        let next = item.next();
        item.set_next(NONE);
        self.free = next;
        self.n_used += 1;
        taken
    }

    #[cold]
    fn grow(&mut self) {
        let start = self.capacity();
        let end = if start == 0 { FIRST_LEN } else { (start / SLAB_LEN + 1) * SLAB_LEN };
        let mut slab = vec![T::default(); end - start].into_boxed_slice();
        for (item, number) in slab.iter_mut().zip(start + 1..) {
            let next = u32::try_from(number).expect("a pool holds some thousands");
            item.set_next(if number == end { NONE } else { next });
        }
        self.slabs.reserve_exact(1);
        self.slabs.push(slab);
        self.free = u32::try_from(start).expect("a pool holds some thousands");
    }

    /// Gives back a list of `n`, which begins with `first` and ends with `last`.
    pub(super) fn give_back(&mut self, first: u32, last: u32, n: usize) {
        let free = self.free;
        self.get_mut(last).set_next(free);
        self.free = first;
        self.n_used -= n;
    }

    /// How many are in use.
    pub(super) fn n_used(&self) -> usize {
        self.n_used
    }

    /// How many there is memory for.
    fn capacity(&self) -> usize {
        match self.slabs.len() {
            0 => 0,
            1 => FIRST_LEN,
            n => (n - 1) * SLAB_LEN,
        }
    }

    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        self.slabs.capacity() * size_of::<Box<[T]>>() + self.capacity() * size_of::<T>()
    }

    /// Bytes of what is in use.
    pub(super) fn used_bytes(&self) -> usize {
        self.n_used * size_of::<T>()
    }

    /// Tells whether most of it is free, and could be given back.
    pub(super) fn is_sparse(&self) -> bool {
        self.n_used == 0 || self.slabs.len() > 1 && self.n_used < self.capacity() / 2
    }
}

/// A piece of an open chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    bytes: [u8; CELL_BYTES],
    next: u16,
}

impl Default for Cell {
    fn default() -> Self {
        Self { bytes: [0; CELL_BYTES], next: u16::MAX }
    }
}

impl Linked for Cell {
    #[inline]
    fn next(&self) -> u32 {
        if self.next == u16::MAX { NONE } else { u32::from(self.next) }
    }

    #[inline]
    fn set_next(&mut self, next: u32) {
        self.next = narrow(next);
    }
}

/// The number of a cell in 16 bits. The open chunks of a page need some 10,000 cells at most, and
/// full ones stay in cells only while there are few.
#[inline]
fn narrow(number: u32) -> u16 {
    if number == NONE { u16::MAX } else { u16::try_from(number).expect("below 65,535 cells") }
}

/// Bytes that lie in a list of cells, the last few of them here. In a large head a cell is far from
/// memory that is near, and most samples take two or three bytes: so only some of them go to a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u16,
    last: u16,
    /// Number of bytes; all but a rest of whole words lie in cells.
    len: u16,
    /// The rest, and zeros behind it.
    rest: [u8; WORD_BYTES],
}

/// Bytes that go to a cell together.
const WORD_BYTES: usize = 8;

impl Chain {
    /// No bytes.
    pub(super) const EMPTY: Self =
        Self { first: u16::MAX, last: u16::MAX, len: 0, rest: [0; WORD_BYTES] };

    /// Number of bytes.
    pub(super) fn len(self) -> usize {
        usize::from(self.len)
    }

    /// Number of bytes that lie in cells.
    #[inline]
    fn len_in_cells(self) -> usize {
        self.len() / WORD_BYTES * WORD_BYTES
    }
}

impl Pool<Cell> {
    /// Adds the first `n` bytes of `word` to a chain.
    #[inline]
    fn push(&mut self, chain: &mut Chain, word: [u8; WORD_BYTES], n: usize) {
        if n == 0 {
            return;
        }
        let n_rest = chain.len() % WORD_BYTES;
        let word = u64::from_be_bytes(word) & (u64::MAX << (8 * (WORD_BYTES - n)));
        let joined = u64::from_be_bytes(chain.rest) | word >> (8 * n_rest);
        let is_whole = n_rest + n >= WORD_BYTES;
        if is_whole {
            self.push_word(chain, joined.to_be_bytes());
        }
        let rest = match (is_whole, n_rest) {
            (false, _) => joined,
            (true, 0) => 0,
            (true, n_rest) => word << (8 * (WORD_BYTES - n_rest)),
        };
        chain.rest = rest.to_be_bytes();
        chain.len += u16::try_from(n).expect("a chunk of 240 samples has some thousand bytes");
    }

    /// Puts a word behind those of a chain that lie in cells.
    #[inline]
    fn push_word(&mut self, chain: &mut Chain, word: [u8; WORD_BYTES]) {
        let used = chain.len_in_cells() % CELL_BYTES;
        if used == 0 || used + WORD_BYTES > CELL_BYTES {
            self.push_across(chain, used, word);
            return;
        }
        let cell = self.get_mut(u32::from(chain.last));
        cell.bytes[used..used + WORD_BYTES].copy_from_slice(&word);
    }

    /// The same where the word does not fit the last cell, of which `used` bytes are taken, or there
    /// is none or a full one. Whole words are stored here too, for to copy a few bytes takes longer.
    fn push_across(&mut self, chain: &mut Chain, used: usize, word: [u8; WORD_BYTES]) {
        let mut left = u64::from_be_bytes(word);
        if used > 0 {
            let cell = self.get_mut(u32::from(chain.last));
            for byte in &mut cell.bytes[used..] {
                *byte = left.to_be_bytes()[0];
                left <<= 8;
            }
        }
        let taken = self.take();
        if chain.len_in_cells() == 0 {
            chain.first = narrow(taken);
        } else {
            self.get_mut(u32::from(chain.last)).set_next(taken);
        }
        chain.last = narrow(taken);
        self.get_mut(taken).bytes[..WORD_BYTES].copy_from_slice(&left.to_be_bytes());
    }

    /// Appends the bytes of a chain to `out`.
    pub(super) fn copy_to(&self, chain: &Chain, out: &mut Vec<u8>) {
        out.reserve(chain.len());
        let (mut left, mut number) = (chain.len_in_cells(), u32::from(chain.first));
        while left > 0 {
            let cell = self.get(number);
            let n = left.min(CELL_BYTES);
            out.extend_from_slice(&cell.bytes[..n]);
            (left, number) = (left - n, cell.next());
        }
        out.extend_from_slice(&chain.rest[..chain.len() % WORD_BYTES]);
    }

    /// Gives back the cells of a chain.
    pub(super) fn release(&mut self, chain: &Chain) {
        let n = chain.len_in_cells().div_ceil(CELL_BYTES);
        if n > 0 {
            self.give_back(u32::from(chain.first), u32::from(chain.last), n);
        }
    }

    /// Copies a chain to another pool.
    pub(super) fn move_to(&self, target: &mut Self, chain: &Chain) -> Chain {
        let mut bytes = Vec::new();
        self.copy_to(chain, &mut bytes);
        let mut moved = Chain::EMPTY;
        for bytes in bytes.chunks(WORD_BYTES) {
            let mut word = [0; WORD_BYTES];
            word[..bytes.len()].copy_from_slice(bytes);
            target.push(&mut moved, word, bytes.len());
        }
        moved
    }
}

/// Takes the bytes of an open chunk into its cells.
pub(super) struct ChainSink<'a> {
    pub(super) cells: &'a mut Pool<Cell>,
    pub(super) chain: &'a mut Chain,
}

impl ByteSink for ChainSink<'_> {
    #[inline]
    fn put(&mut self, word: [u8; 8], n: usize) {
        self.cells.push(self.chain, word, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(cells: &Pool<Cell>, chain: Chain) -> Vec<u8> {
        let mut bytes = Vec::new();
        cells.copy_to(&chain, &mut bytes);
        bytes
    }

    #[test]
    fn chains_grow_side_by_side_and_give_their_cells_back() {
        let mut cells = Pool::<Cell>::default();
        let mut chains = [Chain::EMPTY; 3];
        let mut expected = [const { Vec::new() }; 3];
        for round in 0..1000_usize {
            for (i, chain) in chains.iter_mut().enumerate() {
                let n = (round * 7 + i * 3) % 9;
                let word =
                    [round, i, 2, 3, 4, 5, 6, 7].map(|byte| u8::try_from(byte % 256).unwrap());
                ChainSink { cells: &mut cells, chain }.put(word, n);
                expected[i].extend_from_slice(&word[..n]);
            }
        }
        for (chain, expected) in chains.iter().zip(&expected) {
            assert_eq!(&bytes_of(&cells, *chain), expected);
        }
        let mut other = Pool::<Cell>::default();
        let moved = cells.move_to(&mut other, &chains[1]);
        assert_eq!(bytes_of(&other, moved), expected[1]);
        let full = cells.size_bytes();
        cells.release(&chains[0]);
        cells.release(&chains[2]);
        assert_eq!(bytes_of(&cells, chains[1]), expected[1]);
        assert!(cells.is_sparse());
        cells.release(&chains[1]);
        cells.release(&Chain::EMPTY);
        assert_eq!((cells.n_used(), cells.used_bytes()), (0, 0));
        let mut again = Chain::EMPTY;
        for _ in 0..1000 {
            ChainSink { cells: &mut cells, chain: &mut again }.put([9; 8], 8);
        }
        assert_eq!(cells.size_bytes(), full, "what was given back is used again");
        assert_eq!(bytes_of(&cells, again), [9; 8000]);
    }

    #[test]
    fn a_cell_is_half_a_cache_line() {
        assert_eq!(size_of::<Cell>(), 32);
    }
}
