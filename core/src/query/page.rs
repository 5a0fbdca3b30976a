//! One slice of the rows of a table of services, which has no order of its own.

use crate::limits;
use crate::names::DataInfoId;

use super::{Cursor, Slice};

/// One slice of the rows of these services, in the order of their places on the ring, from `after` on.
///
/// A table of services has no order of its own. The services of one slice are picked by their hash, which costs one pass
/// over the table and no copy of it.
pub(crate) fn page<'a, T, R: Iterator<Item = T>>(
    ids: impl Iterator<Item = &'a DataInfoId>,
    after: Cursor,
    rows_of: impl Fn(&'a DataInfoId) -> R,
) -> Slice<T> {
    let (outer, inner) = after.parts();
    let mut ids: Vec<_> = ids.filter(|id| bucket(id) >= outer).collect();
    let has_more = ids.len() > limits::QUERY_ROWS_MAX;
    if has_more {
        ids.select_nth_unstable(limits::QUERY_ROWS_MAX);
        // Services of one bucket stay together: a cursor names a row within the bucket.
        let last = bucket(ids[limits::QUERY_ROWS_MAX]);
        ids.retain(|id| bucket(id) <= last);
    }
    ids.sort_unstable();
    let mut rows = Vec::new();
    let (mut current, mut offset) = (outer, 0);
    for id in &ids {
        if bucket(id) != current {
            (current, offset) = (bucket(id), 0);
        }
        for row in rows_of(id) {
            if current == outer && offset < inner {
                offset += 1;
                continue;
            }
            if rows.len() == limits::QUERY_ROWS_MAX {
                let next = Some(Cursor::pair(current, offset));
                return Slice { rows, next };
            }
            rows.push(row);
            offset += 1;
        }
    }
    let next = has_more.then(|| current.checked_add(1).map(|next| Cursor::pair(next, 0)));
    Slice {
        rows,
        next: next.flatten(),
    }
}

fn bucket(data_info_id: &DataInfoId) -> u32 {
    u32::try_from(data_info_id.ring_hash() >> 32).expect("32 bits are left")
}
