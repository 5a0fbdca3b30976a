//! What a survey of a journal tells, for people: a table of segments, one of cores, and every damaged stretch on a line.

use std::fmt;

use rollcall_core::data::journal::segment::Tail;

use super::{End, Fault, Segment, Shard, Survey};

const SEGMENTS: [&str; 6] = ["core", "segment", "bytes", "records", "damaged", "end"];
const CORES: [&str; 7] = [
    "core",
    "bytes",
    "live",
    "dead",
    "publishers",
    "services",
    "ceiling",
];

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (era, cores) = (self.current.era, self.current.cores);
        let path = self.path.display();
        write!(f, "{path}: era {era} of {cores} {}", plural(cores, "core"))?;
        match self.cluster {
            Some(cluster) => writeln!(f, ", cluster {cluster:016x}\n")?,
            None => writeln!(f, "\n")?,
        }
        let segments = self.shards.iter().flat_map(Shard::segment_rows);
        table(f, SEGMENTS, segments.collect())?;
        let mut cores: Vec<_> = self.shards.iter().map(Shard::row).collect();
        if cores.len() > 1 {
            cores.push(total(&self.shards));
        }
        table(f, CORES, cores)?;
        if self.shards.iter().any(Shard::has_torn_tail) {
            writeln!(
                f,
                "A torn tail is what a killed node leaves, or one at work; it is no damage."
            )?;
        }
        match self.faults.len() {
            0 => writeln!(f, "No damage."),
            count => writeln!(f, "Damage in {count} {}:", plural(count, "place")),
        }?;
        self.faults
            .iter()
            .try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

impl Shard {
    fn segment_rows(&self) -> impl Iterator<Item = [String; 6]> {
        self.segments.iter().map(|segment| {
            [
                self.core.to_string(),
                segment.number.to_string(),
                segment.bytes.to_string(),
                segment.records.to_string(),
                segment.damaged.to_string(),
                segment.end.to_string(),
            ]
        })
    }

    fn row(&self) -> [String; 7] {
        let ceiling = self.ceiling.map(|ceiling| ceiling.number().to_string());
        let core = self.core.to_string();
        row(
            core,
            std::slice::from_ref(self),
            ceiling.unwrap_or_default(),
        )
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn has_torn_tail(&self) -> bool {
        let is_torn = |segment: &Segment| {
            matches!(
                segment.end,
                End::At(Tail::Torn { .. } | Tail::Damaged { .. })
            )
        };
        self.segments.iter().any(is_torn)
    }
}

fn total(shards: &[Shard]) -> [String; 7] {
    let ceiling = shards.iter().filter_map(|shard| shard.ceiling).max();
    let ceiling = ceiling.map(|ceiling| ceiling.number().to_string());
    row("all".to_owned(), shards, ceiling.unwrap_or_default())
}

fn row(core: String, shards: &[Shard], ceiling: String) -> [String; 7] {
    let bytes: u64 = shards.iter().map(Shard::bytes).sum();
    let live: u64 = shards.iter().map(|shard| shard.live_bytes).sum();
    let publishers: usize = shards.iter().map(|shard| shard.publishers).sum();
    let services: usize = shards.iter().map(|shard| shard.services).sum();
    [
        core,
        bytes.to_string(),
        live.to_string(),
        bytes.saturating_sub(live).to_string(),
        publishers.to_string(),
        services.to_string(),
        ceiling,
    ]
}

/// Numbers stand below one another, and so does whatever the last column says.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: Vec<[String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
    for row in &rows {
        let (last, numbers) = row.split_last().expect("a table has columns");
        for (column, number) in numbers.iter().enumerate() {
            write!(f, "{number:>width$}  ", width = width(column).unwrap_or(0))?;
        }
        writeln!(f, "{last}")?;
    }
    writeln!(f)
}

fn plural(count: impl TryInto<usize>, one: &str) -> String {
    match count.try_into() {
        Ok(1) => one.to_owned(),
        _ => format!("{one}s"),
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(Tail::Whole) => f.write_str("whole"),
            Self::At(Tail::Sealed) => f.write_str("sealed"),
            Self::At(Tail::Torn { offset } | Tail::Damaged { offset, .. }) => {
                write!(f, "torn at {offset}")
            }
            Self::NotBegun => f.write_str("not begun"),
            Self::Lost => f.write_str("lost"),
            Self::Stray => f.write_str("stray: in no manifest, not read"),
            Self::Refused => f.write_str("not read"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some((from, to)) = self.place {
            write!(f, "bytes {from} to {to}: ")?;
        }
        f.write_str(&self.why)
    }
}
