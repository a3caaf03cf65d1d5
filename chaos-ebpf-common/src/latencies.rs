//! Latencies of which one is picked for each frame, each as often as its weight says.
//!
//! By Walker's alias method (A. J. Walker, "An efficient method for generating discrete random variables
//! with general distributions", ACM TOMS 3, 1977): each column of a table is as likely as any other and
//! has one or two latencies. So a table of [`COLUMNS`] holds the weights of as many latencies exactly,
//! which quantiles would only come near to, and is looked up at one place.

use crate::hold::LONGEST_HOLD;

/// Columns of a table, and the most latencies that it can have.
pub const COLUMNS: usize = 1 << COLUMN_BITS;
/// Hash bits that choose one.
const COLUMN_BITS: u32 = 10;

/// The whole of a column, of which [`Column::new`] is told how much is its own.
pub const WHOLE: u64 = 1 << SHARE_BITS;
/// Hash bits that choose one of the two latencies of a column.
const SHARE_BITS: u32 = 16;

/// Tables that one rule set may have.
pub const MAX_TABLES: usize = 4;

/// One or two latencies, in nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Column {
    /// Its own one, and how much of the column that has, above [`SHARE`].
    own: u64,
    other: u64,
}

/// Below are the nanoseconds of a latency; the longest has 36 bits.
const SHARE: u32 = 40;

impl Column {
    /// `share`: how much of the column is its own, up to [`WHOLE`].
    pub const fn new(own: u64, share: u64, other: u64) -> Self {
        Self { own: own | share << SHARE, other }
    }
}

/// Latencies with their weights.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub columns: [Column; COLUMNS],
}

impl Table {
    /// The latency that these hash bits choose, of which the upper 26 count.
    #[inline(always)]
    pub fn pick(&self, entropy: u64) -> u64 {
        let column = &self.columns[(entropy >> (64 - COLUMN_BITS)) as usize & (COLUMNS - 1)];
        let point = entropy >> (64 - COLUMN_BITS - SHARE_BITS) & (WHOLE - 1);
        let (own, share) = (column.own & ((1 << SHARE) - 1), column.own >> SHARE);
        let picked = if point < share { own } else { column.other };
        if picked > LONGEST_HOLD { LONGEST_HOLD } else { picked }
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
    unsafe impl aya::Pod for super::Table {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_values_have_no_implicit_padding() {
        assert_eq!(size_of::<Table>(), 16 * COLUMNS);
    }

    #[test]
    fn a_column_is_divided_where_it_was_told() {
        let mut columns = [Column::new(LONGEST_HOLD, WHOLE, 0); COLUMNS];
        columns[5] = Column::new(7, 3, 9);
        columns[6] = Column::new(7, 0, u64::MAX);
        let table = Table { columns };
        let at = |column: u64, point: u64| table.pick(column << 54 | point << 38 | 0x2a_5555_5555);
        assert_eq!([at(5, 0), at(5, 2), at(5, 3), at(5, WHOLE - 1)], [7, 7, 9, 9]);
        assert_eq!(at(6, 0), LONGEST_HOLD, "nothing is held for longer");
        for column in [0, 4, 7, 1023] {
            assert_eq!((at(column, 0), at(column, WHOLE - 1)), (LONGEST_HOLD, LONGEST_HOLD));
        }
    }
}
