//! Series refs and times of entries, as records code them.
//!
//! ```text
//! | ref0:u64be | t0:i64be | ( ref − ref0:varint, t − t0:varint, body )… |        against the first
//!
//! | ref0:varint | t0:varint | st0:varint | body |                        with start timestamps:
//! ( ref − ref of the entry before:varint, t − t0:varint, start, body )…  refs against the last
//! start: | 0 |  none    | 1 |  that of the entry before    | 2 | st − st0:varint |
//! ```

use ferula_chunkenc::cursor::{put_i64_be, put_u8, put_u64_be, put_varint};
use ferula_index::SeriesRef;

use super::fields::Fields;
use crate::Error;

const NO_START: u8 = 0;
const SAME_START: u8 = 1;
const EXPLICIT_START: u8 = 2;

/// What every entry of a record begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) series: SeriesRef,
    /// Milliseconds since the Unix epoch; 0 for none.
    pub(crate) start_timestamp: i64,
    pub(crate) timestamp: i64,
}

/// Which of the two ways a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StampLayout {
    /// Differences to the first entry, no start timestamps.
    Plain,
    /// Differences of refs to the entry before, with start timestamps.
    Started,
}

/// Codes stamps of one record against those that went before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    layout: StampLayout,
    first: Option<Stamp>,
    previous: Stamp,
}

impl Stamps {
    /// Begins a record.
    pub(super) fn new(layout: StampLayout) -> Self {
        Self { layout, first: None, previous: Stamp::default() }
    }

    /// Reads the stamp of the next entry.
    pub(super) fn read(&mut self, fields: &mut Fields<'_>) -> Result<Stamp, Error> {
        let stamp = match (self.layout, self.first) {
            (StampLayout::Plain, first) => {
                let first = match first {
                    Some(first) => first,
                    None => *self.first.insert(Stamp {
                        series: SeriesRef(fields.u64_be()?),
                        start_timestamp: 0,
                        timestamp: fields.i64_be()?,
                    }),
                };
                Stamp {
                    series: moved(first.series, fields.varint()?),
                    start_timestamp: 0,
                    timestamp: first.timestamp.wrapping_add(fields.varint()?),
                }
            }
            (StampLayout::Started, None) => *self.first.insert(Stamp {
                series: SeriesRef(fields.varint()?.cast_unsigned()),
                timestamp: fields.varint()?,
                start_timestamp: fields.varint()?,
            }),
            (StampLayout::Started, Some(first)) => Stamp {
                series: moved(self.previous.series, fields.varint()?),
                timestamp: first.timestamp.wrapping_add(fields.varint()?),
                start_timestamp: match fields.u8()? {
                    NO_START => 0,
                    SAME_START => self.previous.start_timestamp,
                    EXPLICIT_START => first.start_timestamp.wrapping_add(fields.varint()?),
                    _ => return Err(fields.refuse("start timestamp marker")),
                },
            },
        };
        self.previous = stamp;
        Ok(stamp)
    }

    /// Has later entries coded against `stamp`, unless there was a first one already.
    pub(super) fn write_base(&mut self, stamp: Stamp, buf: &mut Vec<u8>) {
        if self.layout == StampLayout::Plain && self.first.is_none() {
            put_u64_be(buf, stamp.series.0);
            put_i64_be(buf, stamp.timestamp);
            self.first = Some(stamp);
        }
    }

    /// Writes the stamp of the next entry.
    pub(super) fn write(&mut self, stamp: Stamp, buf: &mut Vec<u8>) {
        self.write_base(stamp, buf);
        match (self.layout, self.first) {
            (StampLayout::Plain, first) => {
                let first = first.expect("the base was written");
                put_varint(buf, distance(first.series, stamp.series));
                put_varint(buf, stamp.timestamp.wrapping_sub(first.timestamp));
            }
            (StampLayout::Started, None) => {
                put_varint(buf, stamp.series.0.cast_signed());
                put_varint(buf, stamp.timestamp);
                put_varint(buf, stamp.start_timestamp);
                self.first = Some(stamp);
            }
            (StampLayout::Started, Some(first)) => {
                put_varint(buf, distance(self.previous.series, stamp.series));
                put_varint(buf, stamp.timestamp.wrapping_sub(first.timestamp));
                let start = stamp.start_timestamp;
                if start == 0 {
                    put_u8(buf, NO_START);
                } else if start == self.previous.start_timestamp {
                    put_u8(buf, SAME_START);
                } else {
                    put_u8(buf, EXPLICIT_START);
                    put_varint(buf, start.wrapping_sub(first.start_timestamp));
                }
            }
        }
        self.previous = stamp;
    }
}

fn moved(base: SeriesRef, by: i64) -> SeriesRef {
    SeriesRef(base.0.wrapping_add_signed(by))
}

fn distance(from: SeriesRef, to: SeriesRef) -> i64 {
    to.0.wrapping_sub(from.0).cast_signed()
}
