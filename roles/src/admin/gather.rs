//! Asking all cores and adding up, in memory that does not grow with the answer.

use std::rc::Rc;

use rollcall_core::limits;
use rollcall_core::machine::Instant;
use rollcall_core::names::CoreId;
use rollcall_core::query::{
    Answer, ConfiguratorRow, ConnectionRow, Counts, Cursor, DataInfoIdRow, DatumRow, HeldPublisher,
    PublisherRow, Query, Slice, SubscriberRow,
};
use rollcall_core::stats::Stats;
use rollcall_io::http::{Body, Interrupted, Response, Sink};
use serde::Serialize;

use super::node::{Node, Unanswered};
use super::reply::{JSON, Problem, typed_body};

/// The counts of all cores together.
pub(super) async fn counts(node: &dyn Node) -> Result<Counts, Unanswered> {
    let mut total = Counts::default();
    for core in cores(node) {
        match node.ask(core, Query::Counts).await? {
            Answer::Counts(counts) => total.add(&counts),
            other => return Err(misunderstood(core, &other)),
        }
    }
    Ok(total)
}

/// The counters of each core.
pub(super) async fn stats(node: &dyn Node) -> Result<Vec<Stats>, Unanswered> {
    let mut all = Vec::with_capacity(usize::from(node.facts().cores));
    for core in cores(node) {
        match node.ask(core, Query::Stats).await? {
            Answer::Stats(stats) => all.push(*stats),
            other => return Err(misunderstood(core, &other)),
        }
    }
    Ok(all)
}

/// A row that comes in slices.
pub(super) trait Row: From<Self::Told> {
    /// As the core tells it.
    type Told;

    /// The slice, if the answer is one of such rows.
    fn slice_of(answer: Answer) -> Result<Slice<Self::Told>, Answer>;
}

macro_rules! rows {
    ($($row:ty, $told:ty = $variant:ident),* $(,)?) => { $(
        impl Row for $row {
            type Told = $told;

            fn slice_of(answer: Answer) -> Result<Slice<$told>, Answer> {
                match answer {
                    Answer::$variant(slice) => Ok(slice),
                    other => Err(other),
                }
            }
        }
    )* };
}

rows! {
    PublisherRow, HeldPublisher = Publishers,
    HeldPublisher, HeldPublisher = Publishers,
    SubscriberRow, SubscriberRow = Subscribers,
    ConfiguratorRow, ConfiguratorRow = Configurators,
    DataInfoIdRow, DataInfoIdRow = DataInfoIds,
    DatumRow, DatumRow = Datums,
    ConnectionRow, ConnectionRow = Connections,
}

/// Until when an answer that is begun now must be over.
pub(super) fn deadline(node: &dyn Node) -> Instant {
    node.monotonic() + limits::HTTP_ANSWER_MAX
}

/// Hands every row of every core to `each`, slice by slice: no more than one slice is held, and none after `until`.
pub(super) async fn for_each<T: Row>(
    node: &dyn Node,
    until: Instant,
    query: impl Fn(Cursor) -> Query,
    mut each: impl AsyncFnMut(T),
) -> Result<(), Unanswered> {
    for core in cores(node) {
        let mut next = Some(Cursor::Start);
        while let Some(after) = next {
            let answer = node.ask(core, query(after)).await?;
            let slice = T::slice_of(answer).map_err(|other| misunderstood(core, &other))?;
            for row in slice.rows {
                // Who reads slowly makes `each` wait.
                if node.monotonic() >= until {
                    return Err(too_slow());
                }
                each(row.into()).await;
            }
            next = slice.next;
        }
    }
    Ok(())
}

fn cores(node: &dyn Node) -> impl Iterator<Item = CoreId> + use<> {
    (0..node.facts().cores).map(CoreId)
}

fn too_slow() -> Unanswered {
    let limit = limits::HTTP_ANSWER_MAX.as_secs();
    Unanswered {
        core: None,
        why: format!("an answer may take {limit} s, as long as it was read"),
    }
}

fn misunderstood(core: CoreId, answer: &Answer) -> Unanswered {
    let variant = match answer {
        Answer::Counts(_) => "counts",
        Answer::Publishers(_) => "publishers",
        Answer::Subscribers(_) => "subscribers",
        Answer::Configurators(_) => "configurators",
        Answer::DataInfoIds(_) => "ids",
        Answer::Datum(_) => "a datum",
        Answer::Datums(_) => "datums",
        Answer::Connections(_) => "connections",
        Answer::Stats(_) => "stats",
    };
    Unanswered {
        core: Some(core),
        why: format!("told {variant} instead"),
    }
}

/// JSON on its way out.
pub(super) struct Out {
    pub(super) node: Rc<dyn Node>,
    pub(super) until: Instant,
    sink: Sink,
    buffer: Vec<u8>,
}

impl Out {
    /// An answer of JSON that `write` produces while it is sent.
    pub(super) async fn answer<W>(node: &Rc<dyn Node>, write: W) -> Result<Response, Problem>
    where
        W: AsyncFnOnce(&mut Self) -> Result<(), Unanswered> + 'static,
    {
        let node = Rc::clone(node);
        let body = Body::produced(async move |sink| {
            let mut out = Self {
                until: deadline(&*node),
                node,
                sink,
                buffer: Vec::new(),
            };
            write(&mut out).await.map_err(|unanswered| {
                tracing::warn!(%unanswered, "an HTTP answer breaks off");
                Interrupted(unanswered.to_string())
            })?;
            out.sink.send(out.buffer.into()).await;
            Ok(())
        });
        Ok(typed_body(JSON, body.await?))
    }

    /// JSON as it is.
    pub(super) async fn raw(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.pass_on().await;
    }

    /// A value.
    pub(super) async fn value(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.buffer, value)
            .expect("strings, numbers and lists always serialize");
        self.pass_on().await;
    }

    /// All rows, with commas between and `before` in front of the first; says how many there were.
    pub(super) async fn rows<T: Row>(
        &mut self,
        before: &str,
        query: impl Fn(Cursor) -> Query,
        mut write: impl AsyncFnMut(&mut Self, T),
    ) -> Result<u64, Unanswered> {
        let node = Rc::clone(&self.node);
        let (until, mut rows) = (self.until, 0);
        for_each(&*node, until, query, async |row| {
            self.raw(if rows == 0 { before } else { "," }).await;
            rows += 1;
            write(self, row).await;
        })
        .await?;
        Ok(rows)
    }

    /// A list of all rows.
    pub(super) async fn list<T: Row>(
        &mut self,
        query: impl Fn(Cursor) -> Query,
        write: impl AsyncFnMut(&mut Self, T),
    ) -> Result<(), Unanswered> {
        self.raw("[").await;
        self.rows("", query, write).await?;
        self.raw("]").await;
        Ok(())
    }

    async fn pass_on(&mut self) {
        if self.buffer.len() >= limits::HTTP_CHUNK_BYTES {
            let piece = std::mem::take(&mut self.buffer);
            self.sink.send(piece.into()).await;
            self.node.rest().await;
        }
    }
}
